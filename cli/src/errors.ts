/** Exit statuses of `rspp`: 0 done, 1 ran and failed, 2 wrong usage or bad input. */
export const EXIT_OK = 0;
export const EXIT_FAILED = 1;
export const EXIT_INPUT = 2;

/** Something the user can mend; printed without a stack. */
export class InputError extends Error {
  override readonly name = "InputError";
}
