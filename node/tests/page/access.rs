//! What a page must be for people who see it on a phone, in the dark, not at all, or have no mouse.

use serde_json::{Value, json};

use crate::webdriver::{Browser, ENTER, TAB};
use crate::{go_to, press_until};

/// Loads a page and waits until it shows what it is about.
fn open(browser: &Browser, page: &str) {
    browser.open(page);
    browser.until("document.querySelector('main h1') && !document.querySelector('.skeleton')");
}

/// From the top of the list into a competition, by Tab and Enter, with a ring around whatever has the focus.
pub(crate) fn by_keyboard_alone(browser: &Browser, page: &str) {
    open(browser, page);
    browser.until("document.querySelector('.competition')");
    browser.press(&[TAB]);
    let skip = browser.run(
        "const link = document.activeElement;
         return [link.className, link.getBoundingClientRect().top >= 0, getComputedStyle(link).outlineStyle]",
    );
    assert_eq!(skip, json!(["skip", true, "solid"]));
    browser.press(&[ENTER]);
    browser.until("document.activeElement.id === 'main'");
    let presses = press_until(
        browser,
        TAB,
        "document.activeElement.matches('.competition h3 a')",
    );
    assert_eq!(presses, 1, "after the skip link comes the content");
    let ring =
        browser.run("return getComputedStyle(document.activeElement, '::after').outlineStyle");
    assert_eq!(ring, "solid");
    browser.press(&[ENTER]);
    browser.until(
        "location.pathname.startsWith('/competitions/') && document.querySelector('main h1')",
    );
    browser.until("document.activeElement.id === 'main'");

    // the switch of the colours is a button
    open(browser, page);
    let before = browser.run("return document.documentElement.dataset.theme");
    go_to(browser, "#theme");
    assert_ne!(
        browser.run("return document.documentElement.dataset.theme"),
        before
    );
    let name = browser.run("return document.querySelector('#theme').getAttribute('aria-label')");
    assert!(name.as_str().unwrap().starts_with("Colours: "), "{name}");
    browser.run("localStorage.clear()");

    // each point of a chart is a link with a name
    browser.click(".competition h3 a[href]");
    browser.until("document.querySelector('main h1') && location.pathname !== '/'");
    let named = "[...document.querySelectorAll('svg.chart a')].every(link => link.getAttribute('aria-label'))";
    assert_eq!(browser.run(&format!("return {named}")), json!(true));
}

/// Landmarks, one first heading and no level left out, names and heads of tables, names of controls.
pub(crate) fn has_a_structure(browser: &Browser, page: &str) {
    open(browser, page);
    let faults = browser.run(
        "const faults = [];
         const one = (selector) => { const count = document.querySelectorAll(selector).length; if (count !== 1) faults.push(`${count} of ${selector}`); };
         ['body > header', 'header nav[aria-label]', 'body > main', 'body > footer', 'main h1', '[aria-live=polite]'].forEach(one);
         if (document.documentElement.lang !== 'en') faults.push('no language');
         if (!document.title.includes('Agon')) faults.push(`title ${document.title}`);
         let level = 0;
         for (const heading of document.querySelectorAll('main :is(h1, h2, h3, h4)')) {
           const next = Number(heading.tagName[1]);
           if (next > level + 1) faults.push(`${heading.innerText}: level ${next} after ${level}`);
           level = next;
         }
         for (const table of document.querySelectorAll('table')) {
           if (!table.caption?.innerText) faults.push('a table without a caption');
           if ([...table.tHead.querySelectorAll('th')].some(th => th.scope !== 'col')) faults.push('a column without its head');
           if ([...table.tBodies[0].rows].some(row => row.querySelectorAll('th[scope=row]').length !== 1)) faults.push('a row without its head');
         }
         const ids = [...document.querySelectorAll('[id]')].map(element => element.id);
         if (new Set(ids).size !== ids.length) faults.push('an id twice');
         for (const section of document.querySelectorAll('main section')) {
           if (!document.getElementById(section.getAttribute('aria-labelledby'))) faults.push('a section without a name');
         }
         for (const control of document.querySelectorAll('a[href], button, input')) {
           const name = control.getAttribute('aria-label') || control.textContent.trim() || control.labels?.[0]?.innerText;
           if (!name) faults.push(`no name: ${control.outerHTML}`);
         }
         return faults",
    );
    assert_eq!(faults, json!([]), "{page}");
}

/// At 360 pixels nothing sticks out, and no text lies on another.
pub(crate) fn fits_a_phone(browser: &Browser, page: &str) {
    for width in [360, 768, 1280] {
        browser.width(width);
        open(browser, page);
        // after the pause in which the charts take the new width
        browser.until("[...document.querySelectorAll('main svg.chart')].every(chart => chart.getBoundingClientRect().right <= document.documentElement.clientWidth)");
        let faults = browser.run(FAULTS_OF_LAYOUT);
        assert_eq!(faults, json!([]), "{page} at {width}");
    }
    browser.command("Emulation.clearDeviceMetricsOverride", &json!({}));
}

/// What sticks out of the window, what is wider than the place it has, and texts that lie on each other.
const FAULTS_OF_LAYOUT: &str = "
    const faults = [];
    const wide = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth > wide) faults.push(`the page is ${document.documentElement.scrollWidth} wide`);
    const hidden = (element) => element.closest('.visually-hidden, [hidden], .skip') || getComputedStyle(element.closest('thead') ?? element).position === 'absolute';
    const boxes = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const node = walker.currentNode;
      const element = node.parentElement;
      if (!node.nodeValue.trim() || hidden(element) || element.closest('script, noscript, title, header.top')) continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      for (const box of range.getClientRects()) {
        if (box.width < 1) continue;
        if (box.right > wide + 1 || box.left < -1) faults.push(`sticks out: ${node.nodeValue.slice(0, 40)}`);
        boxes.push([box, node]);
      }
    }
    for (let i = 0; i < boxes.length; i += 1) {
      for (let j = i + 1; j < boxes.length; j += 1) {
        const [[a, one], [b, other]] = [boxes[i], boxes[j]];
        const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        // lines of text may touch with the air above and below their letters
        if (one !== other && across > 2 && down > 0.4 * Math.min(a.height, b.height)) faults.push(`overlap: ${one.nodeValue.slice(0, 40)} | ${other.nodeValue.slice(0, 40)}`);
      }
    }
    return faults.slice(0, 10)";

/// Every text stands out from its ground by 4.5 to 1 at least, in light and in dark.
pub(crate) fn has_contrast(browser: &Browser, page: &str) {
    for scheme in ["light", "dark"] {
        browser.prefers("prefers-color-scheme", scheme);
        open(browser, page);
        let faults = browser.run(FAULTS_OF_CONTRAST);
        assert_eq!(faults, json!([]), "{page} in {scheme}");
    }
    browser.prefers("prefers-color-scheme", "light");
}

/// Texts with less contrast than WCAG's level AA asks for, by its formula.
const FAULTS_OF_CONTRAST: &str = "
    const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const parse = (colour) => {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      const [red, green, blue, alpha] = canvas.getImageData(0, 0, 1, 1).data;
      return [red, green, blue, alpha / 255];
    };
    const over = (top, below) => [0, 1, 2].map((index) => top[index] * top[3] + below[index] * (1 - top[3])).concat(1);
    const ground = (element) => {
      const layers = [];
      for (let at = element; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
      return layers.reduceRight((below, top) => over(top, below), [255, 255, 255, 1]);
    };
    const light = (colour) => {
      const [red, green, blue] = colour.slice(0, 3).map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
      return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const faults = [];
    for (const element of document.querySelectorAll('body *')) {
      if (![...element.childNodes].some((node) => node.nodeType === 3 && node.nodeValue.trim())) continue;
      if (element.closest('.visually-hidden, [hidden], .skip, script, noscript, title')) continue;
      const style = getComputedStyle(element);
      const below = ground(element);
      const colour = over(parse(element.closest('svg') ? style.fill : style.color), below);
      const [high, low] = [light(colour), light(below)].sort((one, other) => other - one);
      const ratio = (high + 0.05) / (low + 0.05);
      if (ratio < 4.5) faults.push(`${ratio.toFixed(2)}: ${element.textContent.slice(0, 40)}`);
    }
    return faults.slice(0, 10)";

/// The brightness of the page's ground, 0 to 255.
fn brightness(browser: &Browser) -> f64 {
    let value: Value = browser.run(
        "return getComputedStyle(document.body).backgroundColor.match(/[0-9.]+/g).slice(0, 3).map(Number).reduce((a, b) => a + b) / 3",
    );
    value.as_f64().unwrap()
}

pub(crate) fn takes_colours_from_the_system_and_from_its_switch(browser: &Browser, page: &str) {
    browser.prefers("prefers-color-scheme", "dark");
    open(browser, page);
    assert!(brightness(browser) < 60.0, "the system's dark is taken");
    // auto, light, dark
    browser.click("#theme");
    assert!(
        brightness(browser) > 200.0,
        "light is chosen against the system"
    );
    open(browser, page);
    assert!(brightness(browser) > 200.0, "the choice is remembered");
    browser.click("#theme");
    browser.prefers("prefers-color-scheme", "light");
    assert!(
        brightness(browser) < 60.0,
        "dark is chosen against the system"
    );
    browser.run("localStorage.clear()");

    browser.prefers("prefers-reduced-motion", "reduce");
    open(browser, page);
    let moving = browser.run(
        "return [...document.querySelectorAll('*')].filter(element => getComputedStyle(element).animationName !== 'none').length",
    );
    assert_eq!(moving, 0, "nothing moves for whoever asked for that");
    browser.prefers("prefers-color-scheme", "light");
}
