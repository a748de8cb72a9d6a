// What strangers of the socket's group may make the plugin hold. All of it together stays below half of the heap limit of 64 MiB:
// 8 MiB half-open, 2 048 Decrypts of 6 KiB, 4 MiB that they retain.

/** An API server uses one; the rest is for its restarts, for `probe`, and for what did not say goodbye. */
export const maxConnections = 64;
/** Per connection. A burst of identical Decrypts was 81 calls for 100 readers. */
export const maxStreams = 1_024;
/** Half-open calls and answers that nobody takes, for the whole server, bytes. Twelve honest calls are 100 KB. */
export const maxHalfOpenBytes = 8 * 1_024 * 1_024;
/** What one stream is charged besides its body: 5.8 KB of heap were measured, headers included. */
export const streamBytes = 8_192;
/** Of one header list, bytes, as HTTP/2 counts; an API server sends 600. */
export const maxHeaderBytes = 4_096;
/** Names and values in one header list. */
export const maxHeaderPairs = 48;
/** Of the library's own memory for one connection, MiB: 1 024 calls need 2. */
export const maxSessionMiB = 16;
/** Ten times the minute between two Status calls of an API server, milliseconds. */
export const idleConnectionMs = 600_000;
/** A peer that was told to go and stays is cut, milliseconds. */
export const goodbyeMs = 5_000;
/** One that has never had an answer makes room for a newcomer after this, milliseconds: an honest one asks at once. */
export const unusedConnectionMs = 2_000;
/** One that has had answers makes room for a newcomer when it has been idle for three Status intervals, milliseconds. */
export const restingConnectionMs = 180_000;
/** Calls of one connection that its client may give up in a burst. */
export const maxResets = 10_000;
/** And how many of them are forgotten in a second. */
export const resetsPerSecond = 1_000;
/** For the rest of a call's body when nothing else limits it, and for taking an answer, milliseconds. */
export const transferMs = 10_000;
/** Decrypts in flight, those that join an identical one included. */
export const maxDecryptCalls = 2_048;
/** Distinct Decrypts that wait for a slot. */
export const maxWaiting = 1_024;
/** Decrypts in one request to OpenBao. With associated data and a reference it takes 166 (spec/kms 4.4). */
export const maxBatchItems = 64;
/** Requests for Decrypts at a time while those that wait leave together: more of them do not help. */
export const batchSlots = 4;
/** Request bytes, as sent, of all Decrypts in flight. An API server's are 700 bytes. */
export const maxRetainedBytes = 4 * 1_024 * 1_024;
/** Of one Decrypt; ours are 7 or 8, and an API server adds none. */
export const maxAnnotations = 16;
/** Of one annotation, bytes; ours are below 130. */
export const maxAnnotationValueBytes = 1_024;

/** Names of the bounds above, as the metric and the log call them. */
export const socketBounds = [
  'connections',
  'connection_unused',
  'connection_idle',
  'half_open_bytes',
  'body_late',
  'answer_untaken',
  'resets',
  'slot_yielded',
  'decrypt_calls',
  'waiting_decrypts',
  'retained_bytes',
] as const;
export type BoundName = (typeof socketBounds)[number];
/** Hears that a bound was reached and something was given up for it. */
export type BoundReached = (bound: BoundName) => void;
