/**
 * The states of a model version. core/models moves a version between them.
 */
export const VERSION_STATES = ['pending', 'loading', 'ready', 'failed', 'retired'] as const;
export type VersionState = (typeof VERSION_STATES)[number];
