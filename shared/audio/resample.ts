/**
 * Resampling by a polyphase filter, sample for sample as `scipy.signal.resample_poly` does it: a windowed sinc (Kaiser, β = 5) of
 * ten zero crossings on each side, whose cut-off is half the lower rate. What lies above it is not folded back.
 */

const CROSSINGS = 10;
const KAISER_BETA = 5;

/**
 * Returns the samples at another rate, `ceil(length × to ÷ from)` of them. Rates are integers in Hz. Beyond its ends the sound is
 * silent.
 */
export function resample(samples: Float32Array, from: number, to: number): Float32Array {
  if (from === to) return samples;
  const divisor = greatestDivisor(from, to);
  const [up, down] = [to / divisor, from / divisor];
  const half = CROSSINGS * Math.max(up, down);
  const taps = lowpass(half, Math.max(up, down), up);
  const resampled = new Float32Array(Math.ceil((samples.length * to) / from));
  for (let i = 0; i < resampled.length; i++) {
    // The filter stands over the place i × down, in which a sample lies at each multiple of `up`.
    const place = i * down;
    const first = Math.max(0, Math.ceil((place - half) / up));
    const last = Math.min(samples.length - 1, Math.floor((place + half) / up));
    let sum = 0;
    for (let n = first, tap = place - first * up + half; n <= last; n++, tap -= up)
      sum += (samples[n] as number) * (taps[tap] as number);
    resampled[i] = sum;
  }
  return resampled;
}

/** Returns `2 × half + 1` taps that sum up to `gain`; their cut-off is the Nyquist frequency ÷ `narrowing`. */
function lowpass(half: number, narrowing: number, gain: number): Float64Array {
  const taps = new Float64Array(2 * half + 1);
  const peak = bessel(KAISER_BETA);
  let sum = 0;
  for (let i = -half; i <= half; i++) {
    const x = (Math.PI * i) / narrowing;
    const window = bessel(KAISER_BETA * Math.sqrt(1 - (i / half) ** 2)) / peak;
    const tap = (i === 0 ? 1 : Math.sin(x) / x) * window;
    taps[i + half] = tap;
    sum += tap;
  }
  return taps.map((tap) => (tap * gain) / sum);
}

/** Returns the modified Bessel function of the first kind and order 0, by its series. */
function bessel(x: number): number {
  let sum = 1;
  for (let term = 1, k = 1; term > sum * Number.EPSILON; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function greatestDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestDivisor(b, a % b);
}
