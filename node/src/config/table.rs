//! One table of all settings. A line of it is a field of a structure, its default, its unit and range, and the words that
//! `config.toml` explains it with; the file that is written, the check of ranges and the hint after a typing error read it.

/// What is known of a setting besides its value.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its name in the file.
    pub name: &'static str,
    /// What it means; a line of the file each.
    pub meaning: &'static [&'static str],
    /// What its number counts; empty for text.
    pub unit: &'static str,
    /// Least accepted number.
    pub least: u64,
    /// Greatest accepted number.
    pub greatest: u64,
    /// What stands behind `#` in the file when an optional setting has no value.
    pub example: &'static str,
}

/// A `[section]` of the file.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// Its name; empty for the settings before the first section.
    pub name: &'static str,
    /// What it is about.
    pub meaning: &'static [&'static str],
    /// Its settings, in the order of the file.
    pub settings: &'static [Setting],
}

impl Setting {
    /// The accepted numbers in words; empty when every number is.
    pub fn range(&self) -> String {
        match (self.least, self.greatest) {
            (0, u64::MAX) => String::new(),
            (least, u64::MAX) => format!("at least {least}"),
            (0, greatest) => format!("at most {greatest}"),
            (least, greatest) => format!("{least} to {greatest}"),
        }
    }
}

/// Makes the structure of a section, its defaults and its [`Section`] from one list.
///
/// ```text
/// section! {
///     /// What the section is about.
///     pub struct ExampleConfig in "example" {
///         /// What the setting means.
///         pub size: usize = 16, "items" from 1 to 256;
///         /// One without a value of its own.
///         pub folder: Option<PathBuf> = None, example "folder";
///     }
/// }
/// ```
/// Behind a number stand its unit and, if not every number will do, `from` and `to`, both optional. [`super::SECTIONS`] names the section.
macro_rules! section {
    (
        $(#[doc = $about:literal])*
        pub struct $Name:ident in $section:literal {
            $(
                $(#[doc = $meaning:literal])*
                pub $field:ident: $Type:ty = $default:expr
                    $(, $unit:literal $(from $least:literal)? $(to $greatest:literal)?)?
                    $(, example $example:literal)?;
            )*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $Name {
            $($(#[doc = $meaning])* pub $field: $Type,)*
        }

        impl Default for $Name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $Name {
            /// The lines of the table.
            pub const SECTION: $crate::config::table::Section = $crate::config::table::Section {
                name: $section,
                meaning: &[$($about),*],
                settings: &[$($crate::config::table::Setting {
                    name: stringify!($field),
                    meaning: &[$($meaning),*],
                    unit: concat!($($unit)?),
                    least: 0 $($(+ $least)?)?,
                    greatest: section!(@greatest $($($greatest)?)?),
                    example: concat!($($example)?),
                }),*],
            };
        }
    };
    (@greatest) => { u64::MAX };
    (@greatest $greatest:literal) => { $greatest };
}

pub(super) use section;
