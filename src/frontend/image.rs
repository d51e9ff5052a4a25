//! A picture of any size, fitted to the encoder's input.

use bytemuck::{Pod, Zeroable};

use super::{ChannelScale, Image, Rectangle, Resize, scaled};
use crate::pack::TensorRecord;

/// The first 16 bytes of the section; a [`ChannelScale`] for each channel follows.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct ImageRecord {
    /// 2.
    pub kind: u8,
    /// Of the scales, 1 to 24.
    pub shift: u8,
    /// 0 = [`Fit::Stretch`], 1 = [`Fit::Crop`].
    pub fit: u8,
    /// Of three channels: 0 = red first, 1 = blue first.
    pub blue_first: u8,
    /// Of the input, 2 to 2,048.
    pub height: u16,
    /// The same.
    pub width: u16,
    /// 1 or 3.
    pub channels: u16,
    /// Of a crop: the part of the largest rectangle's sides, in units of 1 / [`WHOLE`]; 1 to
    /// [`WHOLE`]. Of a stretch 0.
    pub crop: u16,
    /// Zero.
    pub reserved: u32,
}

/// The value of [`ImageRecord::kind`].
pub const KIND_IMAGE: u8 = 2;

/// The unit of [`ImageRecord::crop`].
pub const WHOLE: u16 = 1 << 15;

/// The largest side of an encoder's input.
pub const LARGEST_INPUT: u16 = 2048;

/// Which part of a picture the encoder sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// All of it, each side by its own factor.
    Stretch,
    /// From its middle: the largest rectangle with the input's sides, times this over [`WHOLE`].
    Crop(u16),
}

impl Fit {
    /// The rectangle of a picture for an input of `height` by `width`: sides rounded half up and at
    /// least 1, the odd pixel left over below and to the right.
    ///
    /// ```
    /// use headstart::frontend::{Fit, Rectangle};
    /// let middle = Rectangle { top: 15, left: 55, height: 210, width: 210 };
    /// assert_eq!(Fit::Crop(28_672).rectangle([240, 320], [224, 224]), middle);
    /// ```
    pub fn rectangle(self, picture: [usize; 2], input: [usize; 2]) -> Rectangle {
        let Fit::Crop(part) = self else {
            let [height, width] = picture;
            return Rectangle {
                top: 0,
                left: 0,
                height,
                width,
            };
        };
        let [rows, columns, height, width] =
            [picture[0], picture[1], input[0], input[1]].map(|side| side as u64);
        let (part, whole) = (u64::from(part), u64::from(WHOLE));
        let wide = columns * height > rows * width;
        // Both sides from the one that the picture is short of, over one denominator.
        let (side, over) = if wide {
            (rows, height)
        } else {
            (columns, width)
        };
        let of = |length: u64, most: u64| {
            let over = over * whole;
            ((2 * side * length * part + over) / (2 * over)).clamp(1, most)
        };
        let (height, width) = (of(height, rows), of(width, columns));
        Rectangle {
            top: ((rows - height) / 2) as usize,
            left: ((columns - width) / 2) as usize,
            height: height as usize,
            width: width as usize,
        }
    }
}

/// What an encoder of pictures takes: `[height][width][channels]`.
#[derive(Clone, Copy, Debug)]
pub struct ImageInput<'a> {
    record: &'a ImageRecord,
    scales: &'a [ChannelScale],
}

impl<'a> ImageInput<'a> {
    /// Reads and checks the section of a pack whose input is `input`.
    pub(crate) fn read(section: &'a [u8], input: &TensorRecord) -> Option<Self> {
        let (head, scales) = section.split_at_checked(size_of::<ImageRecord>())?;
        let head: &ImageRecord = bytemuck::try_from_bytes(head).ok()?;
        let scales: &[ChannelScale] = bytemuck::try_cast_slice(scales).ok()?;
        let crop = match head.fit {
            0 => 0..=0,
            _ => 1..=WHOLE,
        };
        let side = |n: u16| (2..=LARGEST_INPUT).contains(&n);
        let fits = head.fit <= 1
            && crop.contains(&head.crop)
            && head.reserved == 0
            && head.blue_first <= u8::from(head.channels == 3)
            && (1..=24).contains(&head.shift)
            && side(head.height)
            && side(head.width)
            && matches!(head.channels, 1 | 3)
            && scales.len() == usize::from(head.channels)
            && scales.iter().all(ChannelScale::bounded)
            && input.is([head.height, head.width, head.channels]);
        fits.then_some(ImageInput {
            record: head,
            scales,
        })
    }

    /// An input without scales, which makes bytes.
    #[cfg(any(test, feature = "onnx"))]
    pub(crate) fn of(record: &'a ImageRecord) -> Self {
        ImageInput {
            record,
            scales: &[],
        }
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.record.height.into()
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.record.width.into()
    }

    /// 1 (grey) or 3.
    pub fn channels(&self) -> usize {
        self.record.channels.into()
    }

    /// Whether blue is the first of three channels.
    pub fn blue_first(&self) -> bool {
        self.record.blue_first == 1
    }

    /// Which part of a picture it sees.
    pub fn fit(&self) -> Fit {
        match self.record.fit {
            0 => Fit::Stretch,
            _ => Fit::Crop(self.record.crop),
        }
    }

    /// Fills the encoder's input. Costs about 4 multiplications for each value of the picture that
    /// it sees, or of the input if that is larger.
    pub fn run(&self, image: Image<'_>, input: &mut [i8]) {
        for (byte, (out, scale)) in self
            .bytes(image)
            .zip(input.iter_mut().zip(self.scales.iter().cycle()))
        {
            *out = scaled(i32::from(byte), scale, self.record.shift.into());
        }
    }

    /// The picture as bytes at the input's size, colours in the input's order. Grey becomes colour
    /// by repetition; colour becomes grey as BT.601's luma, `(77 R + 150 G + 29 B + 128) / 256`
    /// rounded down, of the fitted bytes.
    pub fn bytes(&self, image: Image<'_>) -> impl Iterator<Item = u8> {
        let of = [image.height(), image.width()];
        let (height, width) = (self.height(), self.width());
        let rectangle = self.fit().rectangle(of, [height, width]);
        let resize = Resize::new(image, rectangle, height, width);
        let (channels, blue_first) = (self.channels(), self.blue_first());
        let pixel = move |at: usize, resize: &Resize<'_>| {
            let (y, x) = (at / width, at % width);
            let [red, green, blue] = match image.channels() {
                3 => resize.pixel::<3>(y, x),
                _ => [resize.pixel::<1>(y, x)[0]; 3],
            };
            match (channels, image.channels()) {
                (1, 3) => [luma(red, green, blue); 3],
                _ if blue_first => [blue, green, red],
                _ => [red, green, blue],
            }
        };
        // Checked sides leave no rectangle that can't be resized.
        let pixels = resize.into_iter();
        let count = height * width;
        pixels.flat_map(move |resize| {
            (0..count).flat_map(move |at| pixel(at, &resize).into_iter().take(channels))
        })
    }
}

fn luma(red: u8, green: u8, blue: u8) -> u8 {
    let [red, green, blue] = [red, green, blue].map(u32::from);
    ((77 * red + 150 * green + 29 * blue + 128) >> 8) as u8
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn input(channels: u16, blue_first: bool) -> ImageRecord {
        ImageRecord {
            kind: KIND_IMAGE,
            height: 2,
            width: 2,
            channels,
            blue_first: blue_first.into(),
            ..Zeroable::zeroed()
        }
    }

    #[test]
    fn the_rectangle_lies_in_the_middle() {
        let whole = WHOLE;
        let cases = [
            (Fit::Stretch, [30, 50], [2, 2], [0, 0, 30, 50]),
            (Fit::Crop(whole), [30, 50], [2, 2], [0, 10, 30, 30]),
            (Fit::Crop(whole), [51, 30], [8, 8], [10, 0, 30, 30]),
            (Fit::Crop(whole), [31, 50], [96, 96], [0, 9, 31, 31]),
            (Fit::Crop(whole), [100, 100], [50, 100], [25, 0, 50, 100]),
            (
                Fit::Crop(whole / 2),
                [100, 100],
                [50, 100],
                [37, 25, 25, 50],
            ),
            (Fit::Crop(1), [100, 100], [50, 100], [49, 49, 1, 1]),
            (Fit::Crop(whole), [1, 16_384], [2048, 2], [0, 8191, 1, 1]),
            (
                Fit::Crop(whole),
                [16_384, 16_384],
                [3, 7],
                [4681, 0, 7022, 16_384],
            ),
        ];
        for (fit, picture, input, expected) in cases {
            let r = fit.rectangle(picture, input);
            let found = [r.top, r.left, r.height, r.width];
            assert_eq!(found, expected, "{fit:?} of {picture:?} for {input:?}");
        }
    }

    #[test]
    fn colours_come_in_the_order_asked_for() {
        let grey = Image::new(2, 2, 1, &[1, 2, 3, 4]).unwrap();
        let colour = [250, 0, 0, 0, 250, 0, 0, 0, 250, 255, 255, 255];
        let colour = Image::new(2, 2, 3, &colour).unwrap();
        let bytes = |to: ImageRecord, image| ImageInput::of(&to).bytes(image).collect::<Vec<u8>>();
        assert_eq!(bytes(input(1, false), grey), [1, 2, 3, 4]);
        assert_eq!(bytes(input(3, true), grey)[..6], [1, 1, 1, 2, 2, 2]);
        assert_eq!(bytes(input(1, false), colour), [75, 146, 28, 255]);
        assert_eq!(bytes(input(3, false), colour)[..6], [250, 0, 0, 0, 250, 0]);
        assert_eq!(bytes(input(3, true), colour)[..6], [0, 0, 250, 0, 250, 0]);
    }
}
