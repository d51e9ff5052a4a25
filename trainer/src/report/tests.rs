use super::plot::escape;
use super::*;

fn epoch(number: u32) -> Epoch {
    let t = f64::from(number);
    Epoch {
        epoch: number,
        step: u64::from(number) * 40,
        seconds: 2.5,
        loss: 5.5 / t.sqrt(),
        parts: vec![
            ("contrast".into(), 4.0 / t),
            ("order, of \"parts\"".into(), 0.7),
        ],
        alignment: 0.3,
        uniformity: -3.0,
        effective_rank: t as f32,
        learning_rate: 1e-7,
        gradient_norm: 1.0,
        items_per_second: 9000.0,
        waiting: 0.02,
        outside: 0.05,
    }
}

fn numberless() -> Epoch {
    Epoch {
        loss: f64::NAN,
        effective_rank: f32::NAN,
        uniformity: f32::NEG_INFINITY,
        gradient_norm: f64::INFINITY,
        learning_rate: f64::MAX,
        seconds: f64::NAN,
        ..epoch(2)
    }
}

#[test]
fn a_resumed_log_is_the_one_without_the_break() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("log.csv");
    let mut log = Log::open(&path, 0)?;
    for number in 1..=5 {
        log.append(epoch(number))?;
    }
    let whole = std::fs::read(&path)?;
    assert!(whole.starts_with(b"epoch,step,seconds,loss,"));
    for known in 1..=5 {
        // What a kill left of a row goes too.
        std::fs::write(&path, [&whole[..], b"6,240,2."].concat())?;
        let mut log = Log::open(&path, known)?;
        assert_eq!(log.epochs(), (1..=known).map(epoch).collect::<Vec<_>>());
        for number in known + 1..=5 {
            log.append(epoch(number))?;
        }
        assert_eq!(std::fs::read(&path)?, whole, "resumed at {known}");
    }
    let log = Log::open(&path, 0)?;
    assert!(log.epochs().is_empty() && std::fs::read(&path)?.is_empty());
    Ok(())
}

#[test]
fn half_a_row_is_cut_even_where_the_checkpoint_knows_it() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("log.csv");
    let mut log = Log::open(&path, 0)?;
    log.append(epoch(1))?;
    let one = std::fs::read(&path)?;
    log.append(epoch(2))?;
    let two = std::fs::read(&path)?;
    for end in one.len()..two.len() {
        std::fs::write(&path, &two[..end])?;
        let log = Log::open(&path, 2)?;
        assert_eq!(log.epochs().len(), 1);
        assert_eq!(std::fs::read(&path)?, one);
    }
    Ok(())
}

#[test]
fn a_log_keeps_what_is_no_number_and_refuses_other_tasks() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("log.csv");
    let mut log = Log::open(&path, 0)?;
    log.append(epoch(1))?;
    log.append(numberless())?;
    let again = Log::open(&path, 2)?;
    assert!(again.epochs()[1].loss.is_nan());
    assert_eq!(again.epochs()[1].gradient_norm, f64::INFINITY);
    let other = Epoch {
        parts: Vec::new(),
        ..epoch(3)
    };
    assert!(log.append(other).is_err());
    Ok(())
}

#[test]
fn another_file_is_left_as_it_is() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("log.csv");
    std::fs::write(&path, "name,age\nme,7\n")?;
    let error = Log::open(&path, 1).err().map(|e| format!("{e:#}"));
    assert!(error.is_some_and(|e| e.contains("log.csv")));
    assert_eq!(std::fs::read(&path)?, b"name,age\nme,7\n");
    Ok(())
}

/// Two far clusters, `n` rows of 8 in turn.
fn clusters(n: usize) -> (Vec<f32>, Vec<Option<usize>>) {
    let value = |i: usize| {
        let noise = ((i * 7919 + 13) % 101) as f32 / 101.0;
        let (row, column) = (i / 8, i % 8);
        noise + if column == row % 2 { 5.0 } else { 0.0 }
    };
    (
        (0..n * 8).map(value).collect(),
        (0..n).map(|i| Some(i % 2)).collect(),
    )
}

#[test]
fn a_map_keeps_clusters_apart_and_is_the_same_each_time() {
    let (rows, labels) = clusters(120);
    let map = Map::new(&rows, 8, &labels, &[], 1);
    assert_eq!(map, Map::new(&rows, 8, &labels, &[], 1));
    let distance = |i: usize, j: usize| {
        let (a, b) = (map.places()[i], map.places()[j]);
        (a[0] - b[0]).hypot(a[1] - b[1])
    };
    for i in 0..120 {
        let nearest = (0..120)
            .filter(|&j| j != i)
            .min_by(|&a, &b| distance(i, a).total_cmp(&distance(i, b)));
        assert_eq!(nearest.map(|j| j % 2), Some(i % 2), "of row {i}");
    }
}

#[test]
fn a_map_of_many_is_one_of_some() {
    let (rows, labels) = clusters(700);
    let map = Map::new(&rows, 8, &labels, &["a".into(), "b".into()], 1);
    assert_eq!(map.places().len(), 600);
    assert!(map.svg().contains("600 of 700"));
}

#[test]
fn maps_of_next_to_nothing_are_drawn() {
    for rows in [
        &[][..],
        &[1.0, 2.0],
        &[1.0; 20],
        &[f32::NAN; 8],
        &[0.0, 1.0, 2.0, 3.0, 5.0, 4.0],
    ] {
        for dim in [0, 1, 2] {
            let map = Map::new(rows, dim, &[Some(7), None], &[], 0);
            assert!(
                map.places().iter().flatten().all(|v| v.is_finite()),
                "{rows:?}"
            );
            assert!(map.svg().ends_with("</svg>\n"));
        }
    }
}

#[test]
fn a_map_has_at_most_twenty_names() {
    let (rows, _) = clusters(60);
    let labels: Vec<Option<usize>> = (0..60).map(|i| Some(i / 2)).collect();
    let names: Vec<String> = (0..30).map(|i| format!("name {i}!")).collect();
    let svg = Map::new(&rows, 8, &labels, &names, 0).svg();
    assert_eq!(svg.matches("name ").count(), 20);
    assert!(svg.contains("others"));
}

#[test]
fn text_is_escaped() {
    assert_eq!(
        escape("<a href='x'>&\""),
        "&lt;a href=&#39;x&#39;&gt;&amp;&quot;"
    );
    let evil = "<script>alert('&')</script>".to_owned();
    let (rows, labels) = clusters(8);
    let map = Map::new(&rows, 8, &labels, std::slice::from_ref(&evil), 0);
    let mut one = epoch(1);
    one.parts[0].0.clone_from(&evil);
    let settings = [(evil.clone(), evil.clone())];
    let page = html(
        &evil,
        &settings,
        &[one],
        Some(&map),
        std::slice::from_ref(&evil),
    );
    assert!(!page.contains("<script"));
    assert!(page.contains("&lt;script&gt;alert("));
    assert!(!page.contains("http-equiv=\"refresh") && !page.contains("src="));
}

#[test]
fn charts_of_next_to_nothing_are_drawn() {
    let runs: [&[Epoch]; 4] = [
        &[],
        &[epoch(1)],
        &[numberless()],
        &[epoch(1), numberless(), epoch(3)],
    ];
    for epochs in runs {
        assert!(html("run", &[], epochs, None, &[]).ends_with("</html>\n"));
        for width in [0, 20, 80] {
            assert_eq!(chart(epochs, width).is_empty(), epochs.is_empty());
        }
    }
    let series = |points: Vec<Option<(f64, f64)>>| Series {
        name: "a".into(),
        points,
    };
    let labels = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>();
    let nan = f64::NAN;
    for (all, n) in [
        (vec![], 0),
        (vec![], 3),
        (vec![series(vec![])], 2),
        (
            vec![
                series(vec![None, None]),
                series(vec![Some((nan, nan)), Some((0.5, nan))]),
            ],
            2,
        ),
        (vec![series(vec![Some((0.5, 0.1)); 5])], 1),
        (vec![series(vec![Some((f64::INFINITY, 1e300))]); 40], 1),
    ] {
        assert!(curves(&all, &labels(n), "study").ends_with("</svg>\n"));
    }
}

#[test]
fn the_terminal_chart_fits() {
    let epochs: Vec<Epoch> = (1..=300).map(epoch).collect();
    for width in [41, 60, 80, 200] {
        let chart = chart(&epochs, width);
        assert_eq!(chart.lines().count(), 3);
        for line in chart.lines() {
            assert!(line.chars().count() <= width, "{width}: {line}");
        }
    }
    let text = chart(&epochs[..8], 80);
    assert!(text.starts_with("loss           █"), "{text}");
    assert!(text.contains("▁▂▃▄▅▆▇█  1.00 → 8.00"), "{text}");
}
