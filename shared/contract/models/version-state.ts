/**
 * The states of a model version; who moves it between them stands in core/models.
 */
export const VERSION_STATES = ['pending', 'loading', 'ready', 'failed', 'retired'] as const;
export type VersionState = (typeof VERSION_STATES)[number];
