//! Followers on loopback, against peers that are honest, forgetful or lying.

mod following;
mod joining;
mod retention;
mod world;
