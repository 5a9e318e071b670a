//! The skeleton and style that every page shares. A page is self-contained: no script,
//! nothing loaded.

use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = "
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2330; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
table { border-collapse: collapse } td, th { text-align: left; vertical-align: top }
code { font-size: .85em; overflow-wrap: anywhere }
.warn { background: #fff4d6; padding: .5rem .8rem; border-left: 4px solid #d99a00 }
";

/// A page; `style` is what only this page needs.
pub fn page(title: &str, style: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) (PreEscaped(style)) }
            }
            body { (body) }
        }
    }
}
