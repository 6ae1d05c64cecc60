// Pictures of sound on a canvas: a waveform in the colours of the levels, and a spectrogram.

function prepare(canvas) {
  const scale = window.devicePixelRatio || 1;
  const width = Math.max(1, Math.round(canvas.clientWidth * scale));
  const height = Math.max(1, Math.round(canvas.clientHeight * scale));
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, width, height);
  return { pen, width, height, scale };
}

function colours(element) {
  const style = getComputedStyle(element);
  const named = (name) => style.getPropertyValue(name).trim();
  return {
    levels: [named("--fine"), named("--middle"), named("--rough")],
    dots: named("--dots"),
    line: named("--faint"),
    page: named("--panel"),
    text: named("--text"),
  };
}

/** What of a take is made at which level: seconds by level, finest first. */
function levelAt(seconds, heard) {
  for (let level = 0; level < heard.length; level += 1) if (seconds < heard[level]) return level;
  return null;
}

const COLUMNS = 2400; // of a waveform
const SLICES = 1200; // of a spectrogram
const ROWS = 160;

/** What is to be drawn of a take, in little room however long it lasts: sound goes in, part by part. */
export class Picture {
  constructor(total) {
    this.total = total; // seconds
    this.rate = 0;
    this.low = new Float32Array(COLUMNS);
    this.high = new Float32Array(COLUMNS);
    this.end = 0; // seconds that there is sound of
    this.loudness = null; // of a spectrogram: SLICES times ROWS, 0 to 1; null until it is asked for
  }

  /** By how many seconds a part should begin before the end of the one before. */
  get overlap() {
    return this.total / COLUMNS + 0.1;
  }

  /** Take in samples that begin at `at` seconds; `spectrum`: also for the spectrogram. */
  add(samples, rate, at, spectrum) {
    this.rate = rate;
    this.end = Math.max(this.end, at + samples.length / rate);
    const perColumn = (this.total * rate) / COLUMNS;
    const begin = Math.round(at * rate);
    const last = Math.min(COLUMNS, Math.ceil((begin + samples.length) / perColumn));
    for (let column = Math.ceil(begin / perColumn - 1e-6); column < last; column += 1) {
      const first = Math.max(0, Math.floor(column * perColumn) - begin);
      const end = Math.min(samples.length, Math.ceil((column + 1) * perColumn) - begin);
      const step = Math.max(1, Math.floor((end - first) / 400));
      let low = 0;
      let high = 0;
      for (let place = first; place < end; place += step) {
        if (samples[place] < low) low = samples[place];
        if (samples[place] > high) high = samples[place];
      }
      this.low[column] = low;
      this.high[column] = high;
    }
    if (spectrum) this.addSpectrum(samples, rate, begin);
  }

  addSpectrum(samples, rate, begin) {
    this.loudness ||= new Float32Array(SLICES * ROWS);
    const bins = rowBins(ROWS, rate);
    const real = new Float32Array(FFT_SIZE);
    const imaginary = new Float32Array(FFT_SIZE);
    const perSlice = (this.total * rate) / SLICES;
    const edge = begin ? FFT_SIZE / 2 : 0; // what is nearer to it was seen whole in the part before
    for (let slice = Math.max(0, Math.ceil((begin + edge) / perSlice - 0.5)); slice < SLICES; slice += 1) {
      const centre = Math.floor((slice + 0.5) * perSlice) - begin;
      if (centre >= samples.length) break;
      for (let n = 0; n < FFT_SIZE; n += 1) {
        real[n] = (samples[centre + n - FFT_SIZE / 2] || 0) * HANN[n];
        imaginary[n] = 0;
      }
      transform(real, imaginary);
      for (let row = 0; row < ROWS; row += 1) {
        let power = 0;
        for (let bin = bins[row]; bin < Math.max(bins[row] + 1, bins[row + 1]); bin += 1) {
          power = Math.max(power, real[bin] ** 2 + imaginary[bin] ** 2);
        }
        const decibels = 10 * Math.log10(power / FFT_SIZE ** 2 * 16 + 1e-12);
        this.loudness[slice * ROWS + row] = Math.min(1, Math.max(0, 1 - decibels / FLOOR_DB));
      }
    }
  }
}

/** The waveform of a picture (may be null) over `total` seconds; `marks` are seconds to tick. */
export function drawWave(canvas, picture, total, heard, marks) {
  const { pen, width, height, scale } = prepare(canvas);
  const paint = colours(canvas);
  const middle = height / 2;
  for (let x = 0; x < width; x += 1) {
    if (!picture || (x * total) / width >= picture.end) {
      if (x % Math.round(6 * scale) === 0) {
        pen.fillStyle = paint.dots;
        pen.fillRect(x, middle - scale, 2 * scale, 2 * scale);
      }
      continue;
    }
    let low = 0;
    let high = 0;
    const last = Math.max(Math.ceil(((x + 1) * COLUMNS) / width), Math.floor((x * COLUMNS) / width) + 1);
    for (let column = Math.floor((x * COLUMNS) / width); column < Math.min(last, COLUMNS); column += 1) {
      if (picture.low[column] < low) low = picture.low[column];
      if (picture.high[column] > high) high = picture.high[column];
    }
    const level = levelAt((x * total) / width, heard) ?? heard.length - 1;
    // Of models with other than three levels the finest and the coarsest keep their colours.
    const tone = level === heard.length - 1 && level > 0 ? 2 : Math.min(level, 1);
    pen.fillStyle = paint.levels[tone];
    const top = middle - Math.sqrt(high) * middle;
    const bottom = middle + Math.sqrt(-low) * middle;
    pen.fillRect(x, top, 1, Math.max(scale, bottom - top));
  }
  tick(pen, marks, total, width, height, scale, paint.line);
}

function tick(pen, marks, total, width, height, scale, colour) {
  pen.fillStyle = colour;
  for (const mark of marks) pen.fillRect(Math.round((mark / total) * width), 0, scale, height / 6);
}

const FFT_SIZE = 1024;
const LOWEST = 50; // hertz
const FLOOR_DB = -75;
const turn = (n) => (2 * Math.PI * n) / FFT_SIZE;
const HANN = Float32Array.from({ length: FFT_SIZE }, (_, n) => 0.5 - 0.5 * Math.cos(turn(n)));
const COSINES = Float32Array.from({ length: FFT_SIZE / 2 }, (_, n) => Math.cos(turn(n)));
const SINES = Float32Array.from({ length: FFT_SIZE / 2 }, (_, n) => -Math.sin(turn(n)));

/** The spectrogram of a picture over `total` seconds: low notes below, loud is bright. */
export function drawSpectrogram(canvas, picture, total, marks) {
  const { pen, width, height, scale } = prepare(canvas);
  const paint = colours(canvas);
  if (!picture?.loudness) return;
  const image = new ImageData(SLICES, ROWS);
  const [back, tone, bright] = [paint.page, paint.levels[1], paint.text].map(rgb);
  const slices = Math.min(SLICES, Math.ceil((picture.end / total) * SLICES));
  for (let slice = 0; slice < slices; slice += 1) {
    for (let row = 0; row < ROWS; row += 1) {
      const loud = picture.loudness[slice * ROWS + row];
      const at = 4 * ((ROWS - 1 - row) * SLICES + slice);
      for (let channel = 0; channel < 3; channel += 1) {
        image.data[at + channel] = loud < 0.6
          ? back[channel] + (tone[channel] - back[channel]) * (loud / 0.6)
          : tone[channel] + (bright[channel] - tone[channel]) * ((loud - 0.6) / 0.4);
      }
      image.data[at + 3] = 255;
    }
  }
  const small = new OffscreenCanvas(SLICES, ROWS);
  small.getContext("2d").putImageData(image, 0, 0);
  pen.drawImage(small, 0, 0, width, height);
  axes(pen, total, picture.rate / 2, width, height, scale, paint);
  tick(pen, marks, total, width, height, scale, paint.line);
}

/** Hertz at the left and seconds at the bottom, on what is drawn already. */
function axes(pen, total, highest, width, height, scale, paint) {
  const size = 10 * scale;
  pen.font = `${size}px system-ui, sans-serif`;
  pen.lineWidth = 3 * scale;
  pen.strokeStyle = paint.page;
  pen.fillStyle = paint.text;
  const write = (text, x, y) => {
    pen.strokeText(text, x, y);
    pen.fillText(text, x, y);
  };
  pen.textBaseline = "middle";
  let last = height - 2 * size; // the bottom line is for seconds
  for (const hertz of [100, 300, 1000, 3000, 10000]) {
    const y = height * (1 - Math.log(hertz / LOWEST) / Math.log(highest / LOWEST));
    if (hertz >= highest || y > last || y < size / 2) continue;
    write(hertz < 1000 ? `${hertz} Hz` : `${hertz / 1000} kHz`, 2 * scale, y);
    last = y - 1.5 * size;
  }
  pen.textBaseline = "bottom";
  const step = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600].find((one) => (one / total) * width > 5 * size) ?? 1200;
  for (let at = step; (at / total) * width < width - 3 * size; at += step) {
    const x = (at / total) * width;
    pen.fillRect(x, height - size / 2, scale, size / 2);
    write(`${at} s`, x + 2 * scale, height);
  }
}

/** The first bin of every row, from low to high in equal steps of pitch. */
function rowBins(rows, rate) {
  const highest = rate / 2;
  return Array.from({ length: rows + 1 }, (_, row) => {
    const hertz = LOWEST * (highest / LOWEST) ** (row / rows);
    return Math.min(FFT_SIZE / 2, Math.max(1, Math.round((hertz * FFT_SIZE) / rate)));
  });
}

/** Fourier transform of FFT_SIZE values in place, radix two. */
function transform(real, imaginary) {
  const size = FFT_SIZE;
  for (let i = 1, j = 0; i < size; i += 1) {
    let bit = size >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [real[i], real[j]] = [real[j], real[i]];
      [imaginary[i], imaginary[j]] = [imaginary[j], imaginary[i]];
    }
  }
  for (let length = 2; length <= size; length <<= 1) {
    const step = FFT_SIZE / length;
    for (let start = 0; start < size; start += length) {
      for (let k = 0; k < length / 2; k += 1) {
        const cos = COSINES[k * step];
        const sin = SINES[k * step];
        const a = start + k;
        const b = a + length / 2;
        const re = real[b] * cos - imaginary[b] * sin;
        const im = real[b] * sin + imaginary[b] * cos;
        real[b] = real[a] - re;
        imaginary[b] = imaginary[a] - im;
        real[a] += re;
        imaginary[a] += im;
      }
    }
  }
}

/** "#a1b2c3" -> [161, 178, 195] */
function rgb(hex) {
  const digits = hex.length === 4 ? [...hex.slice(1)].map((d) => d + d).join("") : hex.slice(1);
  return [0, 2, 4].map((at) => parseInt(digits.slice(at, at + 2), 16));
}
