// The one request that a connection to /metrics or the health port may carry. Read here and not by the runtime's HTTP server,
// because that one makes objects of every request in a chunk before any limit applies (docs/decisions/0007-one-request-a-connection.md).

/** Request line and header fields together, bytes. */
export const maxHeadBytes = 8_192;

export type Asked = {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  /** Something stands behind the request: a second one, or a body. */
  readonly isFollowed: boolean;
};

const newline = 0x0a;
const carriageReturn = 0x0d;
const requestLine = /^([A-Z]{1,16}) (\S{1,2048}) HTTP\/1\.[01]$/u;

/** @param bytes  all that has come so far @returns what was asked, or why it is not known */
export function readRequest(bytes: Buffer): Asked | 'incomplete' | 'too_large' | 'malformed' {
  const endIndex = headEnd(bytes);
  if (endIndex === undefined) return bytes.length > maxHeadBytes ? 'too_large' : 'incomplete'; // control: request.max-head
  if (endIndex > maxHeadBytes) return 'too_large';
  const [line = ''] = bytes.toString('latin1', 0, endIndex).split(/\r?\n/u, 1);
  const [, method = '', target = ''] = requestLine.exec(line) ?? [];
  if (method === '') return 'malformed';
  return { method, path: target.split('?')[0] ?? '', isFollowed: bytes.length > endIndex };
}

/** The index behind the empty line that ends the head. A bare line feed ends a line too (RFC 9112, 2.2). */
function headEnd(bytes: Buffer): number | undefined {
  for (let index = bytes.indexOf(newline); index !== -1; index = bytes.indexOf(newline, index + 1)) {
    const next = bytes[index + 1] === carriageReturn ? index + 2 : index + 1;
    if (bytes[next] === newline) return next + 1;
  }
  return undefined;
}
