/** Numbers as people read them, wherever they are shown. */

/** `400,000`. Not by toLocaleString, whose first call takes as long as some thousand requests. */
export const count = (number: number): string => String(number).replace(/(?<=\d)(?=(?:\d{3})+$)/g, ',');

const SIZES = ['bytes', 'kB', 'MB', 'GB', 'TB'];

/** `512 bytes`, `1.5 MB`: in thousands, as files are sold. */
export function sizeText(bytes: number): string {
  let unit = 0;
  let size = bytes;
  for (; size >= 1000 && unit < SIZES.length - 1; unit++) size /= 1000;
  return `${unit === 0 ? size : size.toFixed(1)} ${SIZES[unit]}`;
}

const SPANS: readonly [seconds: number, name: string][] = [
  [86_400, 'd'],
  [3_600, 'h'],
  [60, 'min'],
  [1, 's'],
];

/** `1 d 2 h`, `3 min 20 s`, `5 s` of milliseconds: the largest unit and the next, rounded down. */
export function duration(ms: number): string {
  const seconds = Math.max(Math.floor(ms / 1000), 0);
  const first = SPANS.findIndex(([size]) => seconds >= size);
  if (first < 0) return '0 s';
  let rest = seconds;
  return SPANS.slice(first, first + 2)
    .flatMap(([size, name]) => {
      const times = Math.floor(rest / size);
      rest -= times * size;
      return times > 0 ? [`${times} ${name}`] : [];
    })
    .join(' ');
}
