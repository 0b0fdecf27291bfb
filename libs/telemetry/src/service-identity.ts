/** Who is measured: nothing of the machine, its user or its arguments. */
export interface ServiceIdentity {
  /** `service.name`, e.g. `runtime`. */
  readonly service: string;
  /** `service.instance.id`. */
  readonly instanceId: string;
  /** `service.version`. */
  readonly build: string;
}
