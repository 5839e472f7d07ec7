/**
 * `npm start`: brings up Sluice on this machine, says how to use it, and takes it down again.
 */
import { runLauncher } from './run-launcher.js';

runLauncher();
