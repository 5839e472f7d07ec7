/**
 * The states of a model version. core/models moves a version between them.
 */
export const VERSION_STATES = ['pending', 'loading', 'ready', 'failed', 'retired'] as const;
export type VersionState = (typeof VERSION_STATES)[number];

/** A version that does not serve yet waits for one of these: somebody to take it up, a backend for it, its turn, its files, its checks. */
export const WAITED_FOR = ['worker', 'backend', 'turn', 'files', 'checks'] as const;
export type WaitedFor = (typeof WAITED_FOR)[number];
