//! Data as a folder of class folders.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use super::Known;
use crate::error::Failure;

/// What the files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// WAV files.
    Wav,
    /// PNG and JPEG files.
    Image,
}

impl Kind {
    fn has(self, path: &Path) -> bool {
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        let extensions: &[&str] = match self {
            Kind::Wav => &["wav"],
            Kind::Image => &["png", "jpg", "jpeg"],
        };
        extensions.iter().any(|e| extension == *e)
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Wav => "WAV",
            Kind::Image => "PNG or JPEG",
        }
    }

    fn other(self) -> Kind {
        match self {
            Kind::Wav => Kind::Image,
            Kind::Image => Kind::Wav,
        }
    }
}

/// The files of a folder of class folders, class by class, each in the order of the names.
pub struct Files {
    labels: Vec<String>,
    /// The files.
    pub paths: Vec<PathBuf>,
    classes: Vec<u32>,
}

/// Lists a folder. Class folders whose name begins with `.` or `_` (Speech Commands'
/// `_background_noise_`) are left out, and so are files of another kind.
///
/// # Errors
/// Where there is no class folder, or one without a file of this kind.
pub fn list(data: &Path, kind: Kind) -> Result<Files, Failure> {
    let what = kind.name();
    if !data.is_dir() {
        return Err(Failure::Usage(format!(
            "{} is a file; this encoder takes a folder of class folders of {what} files",
            data.display()
        )));
    }
    let mut files = Files {
        labels: Vec::new(),
        paths: Vec::new(),
        classes: Vec::new(),
    };
    for folder in entries(data)?.into_iter().filter(|p| p.is_dir()) {
        let label = name(&folder);
        if label.starts_with(['.', '_']) {
            continue;
        }
        let (class, inside) = (files.labels.len() as u32, entries(&folder)?);
        let found = files.paths.len();
        files
            .paths
            .extend(inside.iter().filter(|p| kind.has(p)).cloned());
        if files.paths.len() == found {
            return Err(without(&folder, kind, &inside));
        }
        files.classes.resize(files.paths.len(), class);
        files.labels.push(label);
    }
    match files.labels.is_empty() {
        true => Err(anyhow!(
            "{} has no class folders; put the {what} files of each class into a folder of the class's name",
            data.display()
        )
        .into()),
        false => Ok(files),
    }
}

/// The files of a kind in a folder itself, in the order of their names; none where it has only
/// class folders.
pub fn flat(data: &Path, kind: Kind) -> anyhow::Result<Vec<PathBuf>> {
    let mut paths = entries(data)?;
    paths.retain(|p| kind.has(p) && !p.is_dir());
    Ok(paths)
}

/// Whether a folder has files of a kind in itself.
pub fn has_files(data: &Path, kind: Kind) -> bool {
    flat(data, kind).is_ok_and(|paths| !paths.is_empty())
}

/// The first `limit` files of a kind in a folder itself, else in its class folders.
pub fn any(data: &Path, kind: Kind, limit: usize) -> Result<Vec<PathBuf>, Failure> {
    let mut paths = match data.is_dir() {
        true => flat(data, kind)?,
        false => Vec::new(),
    };
    if paths.is_empty() {
        if data.is_dir() && !entries(data)?.iter().any(|p| p.is_dir()) {
            let (data, what) = (data.display(), kind.name());
            return Err(anyhow!("{data} has no {what} file, in itself or in a folder").into());
        }
        paths = list(data, kind)?.paths;
    }
    paths.truncate(limit);
    Ok(paths)
}

/// A class folder without a file of the kind.
fn without(folder: &Path, kind: Kind, inside: &[PathBuf]) -> Failure {
    let text = format!(
        "the class folder {} has no {} file",
        folder.display(),
        kind.name()
    );
    if inside.iter().any(|p| kind.other().has(p)) {
        let other = kind.other().name();
        return Failure::Usage(format!(
            "{text}, which the encoder takes; it has {other} files"
        ));
    }
    anyhow!("{text}; fill it or remove it").into()
}

impl Files {
    /// The first `limit` files as items; `groups` gives a number to each path. It sees all of
    /// them, so that a limit does not change the numbers.
    pub fn items(&mut self, limit: usize, groups: impl Fn(&[PathBuf]) -> Vec<u32>) -> Known {
        let mut groups = groups(&self.paths);
        self.paths.truncate(limit);
        groups.truncate(limit);
        let classes = self.classes.iter().copied().take(limit).collect();
        Known {
            labels: self.labels.clone(),
            classes,
            groups,
        }
    }
}

/// Numbers the parts of the file names before the first `_` (or `.`), in the order of these parts.
pub fn groups(paths: &[PathBuf]) -> Vec<u32> {
    let who = |path: &PathBuf| -> String {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        stem.split('_').next().unwrap_or_default().to_owned()
    };
    let names: Vec<String> = paths.iter().map(who).collect();
    let distinct: Vec<&String> = names.iter().collect::<BTreeSet<_>>().into_iter().collect();
    let number = |name| distinct.binary_search(&name).unwrap_or_default() as u32;
    names.iter().map(number).collect()
}

/// What is in a folder, by name.
fn entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        std::fs::read_dir(folder)?.map(|e| Ok(e?.path())).collect()
    };
    let mut paths = read().with_context(|| format!("could not read {}", folder.display()))?;
    paths.sort();
    Ok(paths)
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_the_names_up_to_the_first_underscore() {
        let paths = [
            "yes/zoe.wav",
            "yes/0a7c2a8d_nohash_0.wav",
            "no/0a7c2a8d_nohash_1.wav",
            "no/anna_1_2.wav",
            "no/_.wav",
            "no/zoe.x.wav",
        ];
        let paths = paths.map(PathBuf::from);
        // "", "0a7c2a8d", "anna", "zoe", "zoe.x"
        assert_eq!(groups(&paths), [3, 1, 1, 2, 0, 4]);
    }

    #[test]
    fn a_limit_leaves_labels_and_groups_as_they_are() {
        let folder = tempfile::tempdir().expect("folder");
        for file in [
            "b/z_1.wav",
            "a/z_0.wav",
            "a/y_0.WAV",
            "a/notes.txt",
            "_noise/n.wav",
        ] {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().expect("class")).expect("folder");
            std::fs::write(path, []).expect("file");
        }
        std::fs::write(folder.path().join("README"), []).expect("file");
        let mut files = list(folder.path(), Kind::Wav).expect("files");
        let all = files.items(9, groups);
        assert_eq!(all.labels, ["a", "b"]);
        assert_eq!((all.classes, all.groups), (vec![0, 0, 1], vec![0, 1, 1]));
        assert!(files.paths[0].ends_with("a/y_0.WAV"));
        let two = files.items(2, groups);
        assert_eq!(two.labels, ["a", "b"]);
        assert_eq!((two.classes, two.groups), (vec![0, 0], vec![0, 1]));
        assert_eq!(files.paths.len(), 2);

        let flat = |folder: &Path| flat(folder, Kind::Wav).expect("files");
        assert!(flat(folder.path()).is_empty());
        let names: Vec<String> = flat(&folder.path().join("a"))
            .iter()
            .map(|p| name(p))
            .collect();
        assert_eq!(names, ["y_0.WAV", "z_0.wav"]);
    }
}
