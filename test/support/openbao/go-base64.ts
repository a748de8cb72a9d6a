// Go's standard base64 decoder: padding required, CR and LF skipped, unused bits free. Node's decoder ignores what it does
// not know, so the fault and its position are worked out here.

/** The bytes, or the position that Go names in `illegal base64 data at input byte N`. */
export function decodeGoBase64(text: string): Buffer | number {
  let group = '';
  let paddingAt = -1;
  let digits = '';
  for (let index = 0; index < text.length; index += 1) {
    const character = text.charAt(index);
    if (character === '\r' || character === '\n') continue;
    if (paddingAt >= 0) {
      const isSecondPad = character === '=' && group.length === 2;
      if (!isSecondPad) return group.length === 2 ? paddingAt : index;
      group = '';
      continue;
    }
    if (character === '=') {
      if (group.length < 2) return index;
      paddingAt = index;
      if (group.length === 3) group = '';
      continue;
    }
    if (!/[A-Za-z0-9+/]/u.test(character)) return index;
    digits += character;
    group = group.length === 3 ? '' : group + character;
  }
  if (paddingAt >= 0) return group.length === 2 ? text.length : Buffer.from(digits, 'base64');
  return group === '' ? Buffer.from(digits, 'base64') : text.length - group.length;
}
