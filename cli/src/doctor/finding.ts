/** One thing `rspp doctor` has looked at. */

export interface DoctorFinding {
  /** `machine`, `data`, `ports`, `platform`. */
  readonly group: string;
  readonly name: string;
  /** `missing`: optional, and not there. `fail`: something will not work. */
  readonly state: "ok" | "missing" | "fail";
  readonly found: string;
  /** What to do; "" where nothing is wrong. */
  readonly remedy: string;
  /** Of a service that answered, milliseconds. */
  readonly latency_ms?: number;
}
