import { type Resource, resourceFromAttributes } from "@opentelemetry/resources";

export interface ServiceIdentity {
  readonly service: string;
  readonly instanceId: string;
  readonly build: string;
}

/** Who sends it: nothing of the machine, its user or its arguments. */
export function resourceOf({ service, instanceId, build }: ServiceIdentity): Resource {
  return resourceFromAttributes({
    "service.namespace": "rspp",
    "service.name": service,
    "service.instance.id": instanceId,
    "service.version": build,
  });
}
