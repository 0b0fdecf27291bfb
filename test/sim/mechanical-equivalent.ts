/** Mutants that mean the same as the source, by name: file, the line before and after, and why nobody can tell. */
export interface Equivalent {
  file: string;
  before: string;
  after: string;
  why: string;
}

export const EQUIVALENT: readonly Equivalent[] = [];
