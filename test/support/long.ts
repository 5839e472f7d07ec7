/**
 * True when long tests run too: `npm run test:recovery` asks for them, `npm test` does not.
 */
export const IS_LONG = process.env.TEST_LONG === '1';
