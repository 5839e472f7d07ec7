/** Vitest runs this file before each file of the end-to-end suite, whose tests then fail by answers that are not described. */
import { afterAll, afterEach } from 'vitest';
import { expectDescribedAnswers } from './described-answers.js';

afterEach(expectDescribedAnswers);
afterAll(expectDescribedAnswers);
