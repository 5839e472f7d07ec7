/**
 * Tells what a folder holds by the files in it and by the bytes with which they begin: a format that is served, or one that is
 * not, with the way from there to one that is.
 */
export const SAVED_MODEL_TEXT = 'saved_model.pbtxt';
