//! What a call came to.

use core::ffi::CStr;

use headstart::encoder::{EmbedError, EncoderError};
use headstart::head::FitError;
use headstart::learner::LearnerError;
use headstart::pack::PackError;
use headstart::statistics::{SnapshotError, StatisticsError};

/// A status without and with its C name.
macro_rules! statuses {
    ($($variant:ident = $number:literal $name:literal,)+) => {
        /// `hs_status`. headstart.h says what each means.
        #[allow(missing_docs)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(i32)]
        pub enum Status { $($variant = $number,)+ }

        impl Status {
            /// All of them.
            pub const ALL: &[Status] = &[$(Status::$variant,)+];

            /// The name that C knows.
            pub fn name(self) -> &'static CStr {
                match self { $(Status::$variant => $name,)+ }
            }
        }
    };
}

statuses! {
    Ok = 0 c"HS_OK",
    NullPointer = 1 c"HS_NULL_POINTER",
    Misaligned = 2 c"HS_MISALIGNED",
    BadArgument = 3 c"HS_BAD_ARGUMENT",
    NotStarted = 4 c"HS_NOT_STARTED",
    MemoryTooSmall = 5 c"HS_MEMORY_TOO_SMALL",
    ArenaTooSmall = 6 c"HS_ARENA_TOO_SMALL",
    BufferTooSmall = 7 c"HS_BUFFER_TOO_SMALL",
    MissingKernel = 8 c"HS_MISSING_KERNEL",
    MissingHead = 9 c"HS_MISSING_HEAD",
    Internal = 10 c"HS_INTERNAL",
    NotAPack = 20 c"HS_NOT_A_PACK",
    PackVersion = 21 c"HS_PACK_VERSION",
    PackLength = 22 c"HS_PACK_LENGTH",
    PackDamaged = 23 c"HS_PACK_DAMAGED",
    PackInvalid = 24 c"HS_PACK_INVALID",
    WindowLength = 30 c"HS_WINDOW_LENGTH",
    NoSignal = 31 c"HS_NO_SIGNAL",
    BadLabel = 40 c"HS_BAD_LABEL",
    UnknownLabel = 41 c"HS_UNKNOWN_LABEL",
    NeverLearnt = 42 c"HS_NEVER_LEARNT",
    TooManyClasses = 43 c"HS_TOO_MANY_CLASSES",
    TooManyExamples = 44 c"HS_TOO_MANY_EXAMPLES",
    SharedMoments = 45 c"HS_SHARED_MOMENTS",
    NothingLearnt = 46 c"HS_NOTHING_LEARNT",
    NothingToUndo = 47 c"HS_NOTHING_TO_UNDO",
    NotASnapshot = 60 c"HS_NOT_A_SNAPSHOT",
    SnapshotVersion = 61 c"HS_SNAPSHOT_VERSION",
    SnapshotDamaged = 62 c"HS_SNAPSHOT_DAMAGED",
    SnapshotInvalid = 63 c"HS_SNAPSHOT_INVALID",
    OtherEncoder = 64 c"HS_OTHER_ENCODER",
    OtherTier = 65 c"HS_OTHER_TIER",
}

impl Status {
    /// The name of the status that C calls `number`.
    pub(crate) fn name_of(number: i32) -> &'static CStr {
        Self::ALL
            .iter()
            .find(|&&status| status as i32 == number)
            .map_or(c"not a status", |status| status.name())
    }
}

impl From<Result<(), Status>> for Status {
    fn from(result: Result<(), Status>) -> Self {
        result.err().unwrap_or(Status::Ok)
    }
}

impl From<PackError> for Status {
    fn from(error: PackError) -> Self {
        match error {
            PackError::Truncated { .. } | PackError::TrailingBytes { .. } => Status::PackLength,
            PackError::NotAPack => Status::NotAPack,
            PackError::Version { .. } => Status::PackVersion,
            PackError::Misaligned => Status::Misaligned,
            PackError::Checksum => Status::PackDamaged,
            PackError::Invalid { .. } => Status::PackInvalid,
        }
    }
}

impl From<EncoderError> for Status {
    fn from(error: EncoderError) -> Self {
        match error {
            EncoderError::ArenaTooSmall { .. } => Status::ArenaTooSmall,
            EncoderError::MissingKernel(_) | EncoderError::MissingFrontEnd(_) => {
                Status::MissingKernel
            }
        }
    }
}

impl From<EmbedError> for Status {
    fn from(error: EmbedError) -> Self {
        match error {
            // A window is never what an encoder of images takes.
            EmbedError::InputLength { .. } | EmbedError::WrongSignal { .. } => Status::WindowLength,
            EmbedError::Zero(_) => Status::NoSignal,
            EmbedError::OutputLength { .. } | EmbedError::Runtime => Status::Internal,
        }
    }
}

impl From<StatisticsError> for Status {
    fn from(error: StatisticsError) -> Self {
        match error {
            StatisticsError::TooManyClasses { .. } => Status::TooManyClasses,
            StatisticsError::TooManyExamples => Status::TooManyExamples,
            StatisticsError::SharedMoments => Status::SharedMoments,
            StatisticsError::OtherTier => Status::OtherTier,
            StatisticsError::BadLabel => Status::BadLabel,
            StatisticsError::UnknownLabel => Status::UnknownLabel,
            StatisticsError::NeverLearnt => Status::NeverLearnt,
            StatisticsError::OtherArtefact => Status::OtherEncoder,
            // The plan gave each part what it needs, and nothing here renames.
            StatisticsError::Dim { .. }
            | StatisticsError::BufferTooSmall { .. }
            | StatisticsError::LabelTaken => Status::Internal,
        }
    }
}

impl From<SnapshotError> for Status {
    fn from(error: SnapshotError) -> Self {
        match error {
            SnapshotError::BufferTooSmall { .. } => Status::BufferTooSmall,
            SnapshotError::NotStatistics => Status::NotASnapshot,
            SnapshotError::Version { .. } => Status::SnapshotVersion,
            SnapshotError::Checksum => Status::SnapshotDamaged,
            SnapshotError::OtherArtefact => Status::OtherEncoder,
            SnapshotError::OtherTier => Status::OtherTier,
            SnapshotError::TooManyClasses { .. } => Status::TooManyClasses,
            SnapshotError::Impossible => Status::SnapshotInvalid,
        }
    }
}

impl From<FitError> for Status {
    /// The plan gave the head what it needs.
    fn from(_: FitError) -> Self {
        Status::Internal
    }
}

impl From<LearnerError> for Status {
    fn from(error: LearnerError) -> Self {
        match error {
            LearnerError::Embed(e) => e.into(),
            LearnerError::Statistics(e) => e.into(),
            LearnerError::Fit(e) => e.into(),
            LearnerError::Snapshot(e) => e.into(),
            LearnerError::NothingLearnt => Status::NothingLearnt,
            LearnerError::NothingToUndo => Status::NothingToUndo,
            // No samples are kept, and no log.
            LearnerError::Samples(_) | LearnerError::Store(_) | LearnerError::OutOfStep => {
                Status::Internal
            }
        }
    }
}
