/**
 * gRPC server reflection, v1 and v1alpha, on both stacks from one answer, so that `grpcurl` and `buf curl` list and describe
 * every server. Descriptors are told as they were generated, custom options included; `@grpc/reflection` would lose those.
 */
import { create, type DescExtension, type DescFile, type DescService, toBinary } from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { bidiMethod, type GrpcService } from "./grpc-server.ts";
import { type RpcRoute, route } from "./route.ts";
import {
  HealthService,
  type ReflectionAnswer,
  type ReflectionContract,
  type ReflectionRequest,
  type ReflectionResponse,
  reflectionContracts,
} from "./well-known.ts";

/** What a server can be asked about: its services and every type they reach. */
export class Reflection {
  readonly #services: readonly string[];
  readonly #files = new Map<string, DescFile>();
  readonly #symbols = new Map<string, DescFile>();
  readonly #extensions = new Map<string, Map<number, DescExtension>>();

  /** Of `services`, and of health and reflection themselves. */
  constructor(services: readonly DescService[]) {
    const all = [...services, HealthService, ...reflectionContracts.map(({ service }) => service)];
    this.#services = [...new Set(all.map(({ typeName }) => typeName))].sort();
    for (const service of all) this.#addFile(service.file);
  }

  answer(request: ReflectionRequest["messageRequest"]): ReflectionAnswer {
    switch (request.case) {
      case "listServices":
        return { case: "listServicesResponse", value: { service: this.#services.map((name) => ({ name })) } };
      case "fileByFilename":
        return this.#describe(this.#files.get(request.value), "file");
      case "fileContainingSymbol":
        return this.#describe(this.#symbols.get(request.value.replace(/^\./, "")), "symbol");
      case "fileContainingExtension": {
        const { containingType, extensionNumber } = request.value;
        return this.#describe(this.#extensions.get(containingType)?.get(extensionNumber)?.file, "extension");
      }
      case "allExtensionNumbersOfType": {
        if (!this.#symbols.has(request.value)) return problem(Code.NotFound, "no such type here");
        const extensionNumber = [...(this.#extensions.get(request.value)?.keys() ?? [])];
        return { case: "allExtensionNumbersResponse", value: { baseTypeName: request.value, extensionNumber } };
      }
      case undefined:
        return problem(Code.InvalidArgument, "message_request is not set: ask for one of its members");
    }
  }

  respond(contract: ReflectionContract, request: ReflectionRequest): ReflectionResponse {
    return create(contract.response, {
      validHost: request.host,
      originalRequest: request,
      messageResponse: this.answer(request.messageRequest),
    });
  }

  #describe(file: DescFile | undefined, what: string): ReflectionAnswer {
    if (file === undefined) return problem(Code.NotFound, `no such ${what} here: list the services`);
    const fileDescriptorProto = [...withImports(file)].map(({ proto }) => toBinary(FileDescriptorProtoSchema, proto));
    return { case: "fileDescriptorResponse", value: { fileDescriptorProto } };
  }

  #addFile(file: DescFile): void {
    if (this.#files.has(file.proto.name)) return;
    this.#files.set(file.proto.name, file);
    for (const type of nestedTypes(file)) {
      this.#symbols.set(type.typeName, file);
      if (type.kind === "service") {
        for (const method of type.methods) this.#symbols.set(`${type.typeName}.${method.name}`, file);
      } else if (type.kind === "extension") {
        const ofType = this.#extensions.get(type.extendee.typeName) ?? new Map<number, DescExtension>();
        ofType.set(type.number, type);
        this.#extensions.set(type.extendee.typeName, ofType);
      }
    }
    for (const dependency of file.dependencies) this.#addFile(dependency);
  }
}

/** A file after all that it imports, each once. */
function withImports(file: DescFile, found: Set<DescFile> = new Set()): Set<DescFile> {
  for (const dependency of file.dependencies) if (!found.has(dependency)) withImports(dependency, found);
  return found.add(file);
}

function problem(code: Code, errorMessage: string): ReflectionAnswer {
  return { case: "errorResponse", value: { errorCode: code, errorMessage } };
}

export function reflectionRoutes(reflection: Reflection): RpcRoute[] {
  return reflectionContracts.map((contract) =>
    route(contract.service, {
      async *serverReflectionInfo(requests) {
        for await (const request of requests) yield reflection.respond(contract, request);
      },
    }),
  );
}

export function grpcReflection(reflection: Reflection): GrpcService[] {
  return reflectionContracts.map((contract) => ({
    service: contract.service,
    methods: {
      serverReflectionInfo: bidiMethod(contract.service.method.serverReflectionInfo, (duplex) => ({
        onMessage: (request) => duplex.write(reflection.respond(contract, request)),
        onEnd: () => duplex.end(),
      })),
    },
  }));
}
