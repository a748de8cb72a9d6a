// The JWT generations that the supervisor sent: the one that is proven and, while it has to prove itself, a newer one.
// A generation that is refused never replaces one that still works (auth 9).

import { ProviderError } from '../../shared/errors/error.ts';
import { type CheckedJwt, checkJwt, type JwtRules } from './jwt.ts';

const noJwt =
  'no JWT is there: the file of auth.jwt.jwtFile is missing or was refused; see credential.refused in the log';

type Generation = { readonly generation: number; readonly bytes: Buffer };

export class JwtSource {
  readonly #rules: JwtRules;
  readonly #wallMs: () => number;
  #proven: Generation | undefined;
  #newest: Generation | undefined;
  #expiresAtUnixMs: number | undefined;

  constructor(rules: JwtRules, wallMs: () => number) {
    this.#rules = rules;
    this.#wallMs = wallMs;
  }

  /** Generation that logs in at present; 0 while none is proven. */
  get generationInUse(): number {
    return this.#proven?.generation ?? 0;
  }

  /** Generation that still has to prove itself, if any. */
  get unprovenGeneration(): number | undefined {
    return this.#newest?.generation;
  }

  get ttlMs(): number {
    return this.#expiresAtUnixMs === undefined ? 0 : Math.max(0, this.#expiresAtUnixMs - this.#wallMs());
  }

  /**
   * A newer generation; older ones that wait are forgotten.
   *
   * @throws ProviderError a JWT class: refused locally, the proven one stays. Without a proven one it is kept all the same,
   *   because the reason (a clock, say) may pass
   */
  offer(generation: number, bytes: Buffer): void {
    const offered = { generation, bytes };
    if (this.#proven === undefined) this.#newest = offered;
    checkJwt(bytes, this.#rules, this.#wallMs());
    this.#newest = offered;
  }

  /**
   * The JWT to log in with: the newest, checked now.
   *
   * @throws ProviderError `jwt_unavailable` when none was sent, or a JWT class
   */
  take(): CheckedJwt {
    const held = this.#newest ?? this.#proven;
    if (held === undefined) throw new ProviderError('jwt_unavailable', noJwt);
    const checked = checkJwt(held.bytes, this.#rules, this.#wallMs());
    this.#expiresAtUnixMs = checked.expiresAtUnixMs;
    return checked;
  }

  /** The login with the newest succeeded. @returns the generation that came into use, if it is a new one */
  loggedIn(): number | undefined {
    const newest = this.#newest;
    if (newest === undefined) return undefined;
    this.#proven = newest;
    this.#newest = undefined;
    return newest.generation;
  }

  /**
   * OpenBao refused the newest. While the proven one is still valid it is used again.
   *
   * @returns the generation that was refused, if a newer one was on trial
   */
  refused(): number | undefined {
    const newest = this.#newest;
    if (newest === undefined) return undefined;
    if (this.#isProvenValid()) this.#newest = undefined;
    return newest.generation;
  }

  #isProvenValid(): boolean {
    if (this.#proven === undefined) return false;
    try {
      checkJwt(this.#proven.bytes, this.#rules, this.#wallMs());
      return true;
    } catch {
      return false;
    }
  }
}
