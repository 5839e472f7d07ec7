/**
 * Whether tests that take long are wanted too: `npm run test:recovery` says so, `npm test` does not.
 */
export const IS_LONG = process.env.TEST_LONG === '1';
