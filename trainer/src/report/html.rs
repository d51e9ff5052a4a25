//! A run on one page.

use std::fmt::Write as _;

use super::plot::{Axis, Line, Plot, escape};
use super::{Epoch, Map};

/// What no reader should have to load: the page holds all that it needs.
const HEAD: &str = r#"<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>
:root { color-scheme: light; }
body { margin: 0; background: #f3f4f6; color: #1f2937; font: 15px/1.5 system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 20px 48px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 20px; overflow-wrap: anywhere; }
h2 { font-size: 16px; margin: 0 0 12px; }
.card { background: #fff; border: 1px solid #e5e7eb; border-radius: 10px; padding: 14px; margin: 0 0 16px; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(128px, 1fr)); gap: 12px; margin: 0 0 16px; }
.facts .card { margin: 0; }
.facts b { display: block; font-size: 20px; white-space: nowrap; font-weight: 600; font-variant-numeric: tabular-nums; }
.facts span { color: #4b5563; font-size: 13px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)); gap: 16px; margin: 0 0 16px; }
.charts .card { margin: 0; }
.card p { margin: 4px 16px 6px; color: #4b5563; font-size: 13px; }
.card.notes p { margin: 0 0 8px; color: inherit; font-size: 15px; overflow-wrap: anywhere; }
svg { display: block; width: 100%; height: auto; }
svg text { font-family: inherit; }
.pair { display: flex; flex-wrap: wrap; gap: 16px; align-items: flex-start; }
.pair .card { margin: 0; flex: 1 1 300px; }
.pair .map { flex: 1 1 620px; }
.map svg { max-width: 760px; }
dl { columns: 2 260px; column-gap: 32px; margin: 0; font-size: 13px; }
dl div { display: flex; gap: 12px; justify-content: space-between; padding: 4px 0; border-bottom: 1px solid #e5e7eb; break-inside: avoid; }
dt { color: #4b5563; white-space: nowrap; }
dd { margin: 0; text-align: right; overflow-wrap: anywhere; font-family: ui-monospace, "Cascadia Mono", Menlo, Consolas, monospace; }
@media print { body { background: #fff; } .card { break-inside: avoid; } }
</style>
"#;

/// A page about a run that needs nothing but itself: figures of the last epoch, curves, notes (a
/// paragraph each), the map and the settings. All text is escaped.
pub fn html(
    title: &str,
    settings: &[(String, String)],
    epochs: &[Epoch],
    map: Option<&Map>,
    notes: &[String],
) -> String {
    let title = escape(title);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n{HEAD}<title>{title}</title>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
    );
    if !epochs.is_empty() {
        page += &facts(epochs);
        page += &charts(epochs);
    }
    if !notes.is_empty() {
        page += "<section class=\"card notes\">\n<h2>Notes</h2>\n";
        for note in notes {
            let _ = writeln!(page, "<p>{}</p>", escape(note));
        }
        page += "</section>\n";
    }
    page += "<div class=\"pair\">\n";
    if let Some(map) = map {
        let map = map.svg();
        let _ = writeln!(page, "<section class=\"card map\">\n{map}</section>");
    }
    if !settings.is_empty() {
        page += "<section class=\"card\">\n<h2>Settings</h2>\n<dl>\n";
        for (name, value) in settings {
            let (name, value) = (escape(name), escape(value));
            let _ = writeln!(page, "<div><dt>{name}</dt><dd>{value}</dd></div>");
        }
        page += "</dl>\n</section>\n";
    }
    page + "</div>\n</main>\n</body>\n</html>\n"
}

/// Where the run stands after its last epoch.
fn facts(epochs: &[Epoch]) -> String {
    let Some(last) = epochs.last() else {
        return String::new();
    };
    let seconds: f64 = epochs.iter().map(|e| e.seconds).sum();
    let mean = |value: fn(&Epoch) -> f64| {
        let weighted = epochs.iter().map(|e| value(e) * e.seconds).sum::<f64>();
        weighted / seconds.max(f64::MIN_POSITIVE)
    };
    let facts = [
        (last.epoch.to_string(), "epochs"),
        (last.step.to_string(), "steps"),
        (format!("{:.3}", last.loss), "loss, last epoch"),
        (format!("{:.1}", last.effective_rank), "effective rank"),
        (duration(seconds), "training"),
        (
            format!("{:.0}", mean(|e| e.items_per_second)),
            "items a second",
        ),
        (
            format!("{:.0} %", 100.0 * mean(|e| e.waiting)),
            "waiting for data",
        ),
    ];
    let mut text = String::from("<section class=\"facts\">\n");
    for (value, name) in facts {
        let value = escape(&value.replace('-', "\u{2212}"));
        let _ = writeln!(
            text,
            "<div class=\"card\"><b>{value}</b><span>{name}</span></div>"
        );
    }
    text + "</section>\n"
}

fn duration(seconds: f64) -> String {
    // As a cast does: what is no number is 0.
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

fn charts(epochs: &[Epoch]) -> String {
    let line = |name: &str, value: &dyn Fn(&Epoch) -> f64| Line {
        name: name.to_owned(),
        points: epochs
            .iter()
            .map(|e| (e.epoch.into(), value(e), 0.0))
            .collect(),
    };
    let mut parts: Vec<&str> = Vec::new();
    for (name, _) in epochs.iter().flat_map(|e| &e.parts) {
        if !parts.contains(&name.as_str()) {
            parts.push(name);
        }
    }
    let mut loss = vec![line("total", &|e| e.loss)];
    // One part alone is the whole.
    for &part in parts.iter().filter(|_| parts.len() > 1) {
        let value = |e: &Epoch| {
            e.parts
                .iter()
                .find(|p| p.0 == part)
                .map_or(f64::NAN, |p| p.1)
        };
        loss.push(line(part, &value));
    }
    let charts = [
        (
            "Loss",
            "mean of each epoch",
            loss,
            "Falls fast, then slowly; a rise often means that the learning rate is too high.",
        ),
        (
            "Effective rank",
            "directions that the embeddings use",
            vec![line("", &|e| e.effective_rank.into())],
            "Higher is better: 1 is collapse, the embedding's length is the most.",
        ),
        (
            "Uniformity",
            "log of the mean Gaussian potential over pairs",
            vec![line("", &|e| e.uniformity.into())],
            "Lower is better: 0 where all embeddings are one point, below \u{2212}3 where they are spread well.",
        ),
        (
            "Alignment",
            "mean squared distance between two views of one item",
            vec![line("", &|e| e.alignment.into())],
            "Lower is better: 2 is no better than chance. 0 with a low rank is collapse.",
        ),
        (
            "Learning rate",
            "at each epoch's end",
            vec![line("", &|e| e.learning_rate)],
            "Set by the schedule.",
        ),
        (
            "Gradient norm",
            "L2 over all weights, mean of each epoch",
            vec![line("", &|e| e.gradient_norm)],
            "Peaks often mean steps that are too long.",
        ),
    ];
    let bound = |pick: fn(f64, f64) -> f64| {
        epochs
            .iter()
            .map(|e| f64::from(e.epoch))
            .reduce(pick)
            .unwrap_or(0.0)
    };
    let (first, last) = (bound(f64::min), bound(f64::max));
    let mut text = String::from("<section class=\"charts\">\n");
    for (title, subtitle, lines, meaning) in &charts {
        let values = lines
            .iter()
            .flat_map(|line| line.points.iter().map(|p| p.1));
        let plot = Plot {
            size: (540.0, 300.0),
            title,
            subtitle,
            below: "epoch",
            x: Axis::around([first, last].into_iter(), 8.0, true).cut_to(first, last),
            y: Axis::around(values, 5.0, false),
            lines,
            markers: false,
        };
        let _ = writeln!(
            text,
            "<div class=\"card\">\n{}<p>{meaning}</p></div>",
            plot.svg()
        );
    }
    text + "</section>\n"
}
