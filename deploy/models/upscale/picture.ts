/**
 * A small colour picture, drawn rather than taken, so that it may be shipped: hills, a house and the sun.
 *
 * It has what enlarging is judged by: flat areas, a gradient, slanted edges, thin lines and saturated colours; no text,
 * as fonts differ from machine to machine.
 */
import sharp from 'sharp';

const WIDTH = 96;
const HEIGHT = 64;

const SVG = `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 96 64">
  <defs>
    <linearGradient id="sky" x1="0" y1="0" x2="0" y2="1">
      <stop offset="0" stop-color="#2f6fd6"/><stop offset="1" stop-color="#cfe6ff"/>
    </linearGradient>
  </defs>
  <rect width="96" height="64" fill="url(#sky)"/>
  <circle cx="76" cy="15" r="8" fill="#ffd23f"/>
  <path d="M0 40 Q20 22 44 38 T96 32 V64 H0 Z" fill="#3f8f4f"/>
  <path d="M0 52 Q30 40 60 50 T96 48 V64 H0 Z" fill="#74b84a"/>
  <rect x="24" y="30" width="22" height="18" fill="#f3e3c3"/>
  <path d="M21 31 L35 18 L49 31 Z" fill="#c0392b"/>
  <rect x="28" y="35" width="5" height="5" fill="#34495e"/>
  <rect x="38" y="37" width="5" height="11" fill="#6e4326"/>
  <path d="M60 56 L66 34 L72 56 M62 49 H70" fill="none" stroke="#4b2e1a" stroke-width="0.9"/>
  <circle cx="66" cy="31" r="7" fill="#2d6a36"/>
</svg>`;

/** The picture as PNG; `enlargedBy` 2 draws it with the detail that the model has to guess. */
export async function drawPicture(enlargedBy = 1): Promise<Buffer> {
  return sharp(Buffer.from(SVG), { density: 72 * enlargedBy })
    .removeAlpha()
    .png()
    .toBuffer();
}

/** The house's gable: not square, so that a height taken for a width is noticed. */
export async function cropDetail(picture: Buffer): Promise<Buffer> {
  return sharp(picture).extract({ left: 22, top: 20, width: 28, height: 20 }).png().toBuffer();
}
