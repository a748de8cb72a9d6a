// The command `verify-rotation`: the same after a rotation, with what it cannot prove.

export { describeRotation as run } from './rotation-report.ts';
