/** A reader of CEF lines, written from the standard and not from what writes them. */
export interface CefLine {
  version: string;
  vendor: string;
  product: string;
  productVersion: string;
  id: string;
  name: string;
  severity: string;
  extension: Map<string, string>;
}

export function readCef(line: string): CefLine {
  const fields: string[] = [];
  let field = '';
  let at = 0;
  for (; fields.length < 7; at++) {
    const character = line[at];
    if (character === undefined) throw new Error('the header ends early');
    if (character === '|') {
      fields.push(field);
      field = '';
    } else if (character === '\\') {
      const escaped = line[++at];
      if (escaped !== '\\' && escaped !== '|') throw new Error(`\\${escaped} in the header`);
      field += escaped;
    } else field += character;
  }
  const [version, vendor, product, productVersion, id, name, severity] = fields as [
    string,
    string,
    string,
    string,
    string,
    string,
    string,
  ];
  return { version, vendor, product, productVersion, id, name, severity, extension: readExtension(line.slice(at)) };
}

/** A key is what stands before a bare equals sign, back to the space before it. */
function readExtension(text: string): Map<string, string> {
  const equals: number[] = [];
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === '=') equals.push(i);
  }
  const keys = equals.map((end) => text.lastIndexOf(' ', end) + 1);
  const found = new Map<string, string>();
  for (const [n, end] of equals.entries()) {
    const key = text.slice(keys[n], end);
    if (!/^[A-Za-z]\w*$/.test(key)) throw new Error(`"${key}" is no key`);
    if (found.has(key)) throw new Error(`${key} is there twice`);
    const next = keys[n + 1];
    found.set(key, unescaped(text.slice(end + 1, next === undefined ? undefined : next - 1)));
  }
  return found;
}

const MEANINGS: Readonly<Record<string, string>> = { '\\': '\\', '=': '=', n: '\n', r: '\r' };

const unescaped = (value: string): string =>
  value.replace(/\\(.?)/gs, (_, escaped: string) => {
    const meaning = MEANINGS[escaped];
    if (meaning === undefined) throw new Error(`\\${escaped} in a value`);
    return meaning;
  });
