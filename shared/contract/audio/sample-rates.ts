/**
 * The rates of sounds, in Hz. Outside of them there are no sounds for models, but headers of strangers that would make a resampler
 * large.
 */
export const SAMPLE_RATES = { least: 1000, most: 192_000 } as const;
