// Shapes of members that several messages have.

import { classNames, details, findings } from '../errors/words.ts';
import { Type } from './shape.ts';

export const count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });

// A word of the plugin is one of ours: it may become a label of a metric, a field of the log, a part of the status line.
export const wordOf = (list: readonly string[]) => Type.Enum([...list]);
export const className = wordOf(classNames); // control: messages.class-name
export const detail = wordOf(details);
export const finding = wordOf(findings);

export const hashText = Type.String({ pattern: '^[0-9A-Za-z_-]{43}$' });
