//! What a device hands over: samples, or a picture.

/// One thing to embed, as it comes from the device. Arrays and slices of samples become one by
/// themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal<'a> {
    /// Raw int16 counts of a sensor, `[time][channel]`, or sound at the encoder's sample rate.
    Samples(&'a [i16]),
    /// A picture of any size.
    Image(Image<'a>),
}

impl Signal<'_> {
    /// Bytes of its samples or pixels.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Signal::Samples(samples) => size_of_val(*samples),
            Signal::Image(image) => image.pixels().len(),
        }
    }
}

impl<'a> From<&'a [i16]> for Signal<'a> {
    fn from(samples: &'a [i16]) -> Self {
        Signal::Samples(samples)
    }
}

impl<'a, const N: usize> From<&'a [i16; N]> for Signal<'a> {
    fn from(samples: &'a [i16; N]) -> Self {
        Signal::Samples(samples)
    }
}

impl<'a> From<Image<'a>> for Signal<'a> {
    fn from(image: Image<'a>) -> Self {
        Signal::Image(image)
    }
}

/// Pixels row by row, `[height][width][channels]`, 1 channel (grey) or 3 (red, green, blue), 0 to
/// 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image<'a> {
    height: usize,
    width: usize,
    channels: usize,
    pixels: &'a [u8],
}

impl<'a> Image<'a> {
    /// The largest side.
    pub const LARGEST_SIDE: usize = 16_384;

    /// Borrows pixels; `None` where they are not height * width * channels, a side is 0 or larger
    /// than [`Image::LARGEST_SIDE`], or channels are neither 1 nor 3.
    ///
    /// ```
    /// use headstart::frontend::Image;
    /// assert!(Image::new(2, 2, 3, &[0; 12]).is_some());
    /// assert!(Image::new(2, 2, 3, &[0; 11]).is_none());
    /// ```
    pub fn new(height: usize, width: usize, channels: usize, pixels: &'a [u8]) -> Option<Self> {
        let side = |n: usize| (1..=Self::LARGEST_SIDE).contains(&n);
        let fits = side(height)
            && side(width)
            && matches!(channels, 1 | 3)
            && pixels.len() == height * width * channels;
        fits.then_some(Image {
            height,
            width,
            channels,
            pixels,
        })
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// 1 or 3.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// `[height][width][channels]`.
    pub fn pixels(&self) -> &'a [u8] {
        self.pixels
    }
}
