// The command `rotation-plan`: shows what this node knows about its key versions, what OpenBao says, and what comes next.

export { describeRotation as run } from './rotation-report.ts';
