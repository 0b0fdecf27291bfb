import type { DescService } from "@bufbuild/protobuf";
import type { ConnectRouter, ServiceImpl } from "@connectrpc/connect";

/** A service with its implementation, for {@link startRpcServer}; services hand out a list of these. */
export interface RpcRoute {
  readonly service: DescService;
  readonly register: (router: ConnectRouter) => void;
}

/** What is left out answers `unimplemented`. */
export function route<S extends DescService>(service: S, implementation: Partial<ServiceImpl<S>>): RpcRoute {
  return { service, register: (router) => void router.service(service, implementation) };
}
