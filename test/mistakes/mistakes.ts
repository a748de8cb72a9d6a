// Every mistake that is tried, by what finds it.

import { jwtMistakes, tlsMistakes } from './credentials.ts';
import { keyMistakes, rightMistakes } from './key.ts';
import { loginMistakes } from './login.ts';
import type { Mistake } from './mistake.ts';

export const mistakes: readonly Mistake[] = [
  ...loginMistakes,
  ...jwtMistakes,
  ...tlsMistakes,
  ...rightMistakes,
  ...keyMistakes,
];
