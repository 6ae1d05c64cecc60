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

/** The waveform of `buffer` (may be null) over `total` seconds; `marks` are seconds to tick. */
export function drawWave(canvas, buffer, total, heard, marks) {
  const { pen, width, height, scale } = prepare(canvas);
  const paint = colours(canvas);
  const samples = buffer ? buffer.getChannelData(0) : new Float32Array(0);
  const perColumn = ((buffer ? buffer.sampleRate : 44100) * total) / width;
  const middle = height / 2;
  for (let x = 0; x < width; x += 1) {
    const first = Math.floor(x * perColumn);
    const last = Math.min(samples.length, Math.ceil((x + 1) * perColumn));
    if (first >= samples.length) {
      if (x % Math.round(6 * scale) === 0) {
        pen.fillStyle = paint.dots;
        pen.fillRect(x, middle - scale, 2 * scale, 2 * scale);
      }
      continue;
    }
    let low = 0;
    let high = 0;
    const step = Math.max(1, Math.floor((last - first) / 400));
    for (let at = first; at < last; at += step) {
      if (samples[at] < low) low = samples[at];
      if (samples[at] > high) high = samples[at];
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

/** The spectrogram of `buffer` over `total` seconds: low notes below, loud is bright. */
export function drawSpectrogram(canvas, buffer, total, marks) {
  const { pen, width, height, scale } = prepare(canvas);
  const paint = colours(canvas);
  if (!buffer) return;
  const samples = buffer.getChannelData(0);
  const columns = Math.min(width, 1200);
  const rows = Math.min(height, 160);
  const image = new ImageData(columns, rows);
  const [back, tone, bright] = [paint.page, paint.levels[1], paint.text].map(rgb);
  const bins = rowBins(rows, buffer.sampleRate);
  const real = new Float32Array(FFT_SIZE);
  const imaginary = new Float32Array(FFT_SIZE);
  for (let x = 0; x < columns; x += 1) {
    const centre = Math.floor(((x + 0.5) * total * buffer.sampleRate) / columns);
    if (centre >= samples.length) break;
    for (let n = 0; n < FFT_SIZE; n += 1) {
      const value = samples[centre + n - FFT_SIZE / 2] || 0;
      real[n] = value * (0.5 - 0.5 * Math.cos((2 * Math.PI * n) / FFT_SIZE));
      imaginary[n] = 0;
    }
    transform(real, imaginary);
    for (let row = 0; row < rows; row += 1) {
      let power = 0;
      for (let bin = bins[row]; bin < Math.max(bins[row] + 1, bins[row + 1]); bin += 1) {
        power = Math.max(power, real[bin] ** 2 + imaginary[bin] ** 2);
      }
      const decibels = 10 * Math.log10(power / FFT_SIZE ** 2 * 16 + 1e-12);
      const loud = Math.min(1, Math.max(0, 1 - decibels / FLOOR_DB));
      const at = 4 * ((rows - 1 - row) * columns + x);
      for (let channel = 0; channel < 3; channel += 1) {
        image.data[at + channel] = loud < 0.6
          ? back[channel] + (tone[channel] - back[channel]) * (loud / 0.6)
          : tone[channel] + (bright[channel] - tone[channel]) * ((loud - 0.6) / 0.4);
      }
      image.data[at + 3] = 255;
    }
  }
  const small = new OffscreenCanvas(columns, rows);
  small.getContext("2d").putImageData(image, 0, 0);
  pen.drawImage(small, 0, 0, width, height);
  axes(pen, total, buffer.sampleRate / 2, width, height, scale, paint);
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

/** Fourier transform in place, radix two. */
function transform(real, imaginary) {
  const size = real.length;
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
    const angle = (-2 * Math.PI) / length;
    for (let start = 0; start < size; start += length) {
      for (let k = 0; k < length / 2; k += 1) {
        const cos = Math.cos(angle * k);
        const sin = Math.sin(angle * k);
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
