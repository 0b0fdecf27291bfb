/** The contracts of `grpc.health.v1` and `grpc.reflection`, as in the grpc-proto repository; used on both stacks. */
import {
  create,
  createFileRegistry,
  type FileRegistry,
  fromJson,
  type JsonObject,
  type Message,
} from "@bufbuild/protobuf";
import type { GenMessage, GenService, GenServiceMethods } from "@bufbuild/protobuf/codegenv2";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { invariant } from "@rspp/base/invariant";

type FieldType = "string" | "bytes" | "int32" | { message: string } | { enum: string };

interface FieldSpec {
  readonly name: string;
  readonly number: number;
  readonly type: FieldType;
  readonly repeated?: true;
  /** Member of the message's only oneof. */
  readonly inOneof?: true;
}

function field(pkg: string, spec: FieldSpec): JsonObject {
  const { name, number, type } = spec;
  const label = spec.repeated === true ? "LABEL_REPEATED" : "LABEL_OPTIONAL";
  const base: JsonObject = { name, number, label, ...(spec.inOneof === true ? { oneofIndex: 0 } : {}) };
  if (typeof type === "string") return { ...base, type: `TYPE_${type.toUpperCase()}` };
  if ("message" in type) return { ...base, type: "TYPE_MESSAGE", typeName: `.${pkg}.${type.message}` };
  return { ...base, type: "TYPE_ENUM", typeName: `.${pkg}.${type.enum}` };
}

function message(
  pkg: string,
  name: string,
  fields: readonly FieldSpec[],
  oneof?: string,
  more: JsonObject = {},
): JsonObject {
  return {
    name,
    field: fields.map((spec) => field(pkg, spec)),
    ...(oneof === undefined ? {} : { oneofDecl: [{ name: oneof }] }),
    ...more,
  };
}

function fileOf(json: JsonObject): FileRegistry {
  const file = fromJson(FileDescriptorProtoSchema, { syntax: "proto3", ...json });
  return createFileRegistry(create(FileDescriptorSetSchema, { file: [file] }));
}

// --- health ---

export const ServingStatus = { UNKNOWN: 0, SERVING: 1, NOT_SERVING: 2, SERVICE_UNKNOWN: 3 } as const;
export type ServingStatus = (typeof ServingStatus)[keyof typeof ServingStatus];

export type HealthCheckRequest = Message<"grpc.health.v1.HealthCheckRequest"> & { service: string };
export type HealthCheckResponse = Message<"grpc.health.v1.HealthCheckResponse"> & { status: ServingStatus };

const healthPackage = "grpc.health.v1";

const healthFile = fileOf({
  name: "grpc/health/v1/health.proto",
  package: healthPackage,
  messageType: [
    message(healthPackage, "HealthCheckRequest", [{ name: "service", number: 1, type: "string" }]),
    message(
      healthPackage,
      "HealthCheckResponse",
      [{ name: "status", number: 1, type: { enum: "HealthCheckResponse.ServingStatus" } }],
      undefined,
      {
        enumType: [
          {
            name: "ServingStatus",
            value: Object.entries(ServingStatus).map(([name, number]) => ({ name, number })),
          },
        ],
      },
    ),
  ],
  service: [
    {
      name: "Health",
      method: [
        {
          name: "Check",
          inputType: ".grpc.health.v1.HealthCheckRequest",
          outputType: ".grpc.health.v1.HealthCheckResponse",
        },
        {
          name: "Watch",
          inputType: ".grpc.health.v1.HealthCheckRequest",
          outputType: ".grpc.health.v1.HealthCheckResponse",
          serverStreaming: true,
        },
      ],
    },
  ],
});

export const HealthCheckRequestSchema = messageOf<HealthCheckRequest>(
  healthFile,
  `${healthPackage}.HealthCheckRequest`,
);
export const HealthCheckResponseSchema = messageOf<HealthCheckResponse>(
  healthFile,
  `${healthPackage}.HealthCheckResponse`,
);
export const HealthService = serviceOf<{
  check: {
    methodKind: "unary";
    input: typeof HealthCheckRequestSchema;
    output: typeof HealthCheckResponseSchema;
  };
  watch: {
    methodKind: "server_streaming";
    input: typeof HealthCheckRequestSchema;
    output: typeof HealthCheckResponseSchema;
  };
}>(healthFile, `${healthPackage}.Health`);

// --- reflection ---

export interface ExtensionRequest {
  containingType: string;
  extensionNumber: number;
}

export type ReflectionRequest = Message & {
  host: string;
  messageRequest:
    | { case: "fileByFilename"; value: string }
    | { case: "fileContainingSymbol"; value: string }
    | { case: "fileContainingExtension"; value: ExtensionRequest }
    | { case: "allExtensionNumbersOfType"; value: string }
    | { case: "listServices"; value: string }
    | { case: undefined; value?: undefined };
};

export type ReflectionAnswer =
  | { case: "fileDescriptorResponse"; value: { fileDescriptorProto: Uint8Array[] } }
  | { case: "allExtensionNumbersResponse"; value: { baseTypeName: string; extensionNumber: number[] } }
  | { case: "listServicesResponse"; value: { service: { name: string }[] } }
  | { case: "errorResponse"; value: { errorCode: number; errorMessage: string } };

export type ReflectionResponse = Message & {
  validHost: string;
  originalRequest?: ReflectionRequest;
  messageResponse: ReflectionAnswer | { case: undefined; value?: undefined };
};

function reflectionFile(pkg: string): FileRegistry {
  const text = (name: string, number: number): FieldSpec => ({ name, number, type: "string", inOneof: true });
  return fileOf({
    name: `${pkg.replaceAll(".", "/")}/reflection.proto`,
    package: pkg,
    messageType: [
      message(
        pkg,
        "ServerReflectionRequest",
        [
          { name: "host", number: 1, type: "string" },
          text("file_by_filename", 3),
          text("file_containing_symbol", 4),
          { name: "file_containing_extension", number: 5, type: { message: "ExtensionRequest" }, inOneof: true },
          text("all_extension_numbers_of_type", 6),
          text("list_services", 7),
        ],
        "message_request",
      ),
      message(pkg, "ExtensionRequest", [
        { name: "containing_type", number: 1, type: "string" },
        { name: "extension_number", number: 2, type: "int32" },
      ]),
      message(
        pkg,
        "ServerReflectionResponse",
        [
          { name: "valid_host", number: 1, type: "string" },
          { name: "original_request", number: 2, type: { message: "ServerReflectionRequest" } },
          answer("file_descriptor_response", 4, "FileDescriptorResponse"),
          answer("all_extension_numbers_response", 5, "ExtensionNumberResponse"),
          answer("list_services_response", 6, "ListServiceResponse"),
          answer("error_response", 7, "ErrorResponse"),
        ],
        "message_response",
      ),
      message(pkg, "FileDescriptorResponse", [
        { name: "file_descriptor_proto", number: 1, type: "bytes", repeated: true },
      ]),
      message(pkg, "ExtensionNumberResponse", [
        { name: "base_type_name", number: 1, type: "string" },
        { name: "extension_number", number: 2, type: "int32", repeated: true },
      ]),
      message(pkg, "ListServiceResponse", [
        { name: "service", number: 1, type: { message: "ServiceResponse" }, repeated: true },
      ]),
      message(pkg, "ServiceResponse", [{ name: "name", number: 1, type: "string" }]),
      message(pkg, "ErrorResponse", [
        { name: "error_code", number: 1, type: "int32" },
        { name: "error_message", number: 2, type: "string" },
      ]),
    ],
    service: [reflectionService(pkg)],
  });
}

function answer(name: string, number: number, type: string): FieldSpec {
  return { name, number, type: { message: type }, inOneof: true };
}

function reflectionService(pkg: string): JsonObject {
  return {
    name: "ServerReflection",
    method: [
      {
        name: "ServerReflectionInfo",
        inputType: `.${pkg}.ServerReflectionRequest`,
        outputType: `.${pkg}.ServerReflectionResponse`,
        clientStreaming: true,
        serverStreaming: true,
      },
    ],
  };
}

export interface ReflectionContract {
  readonly service: GenService<{
    serverReflectionInfo: {
      methodKind: "bidi_streaming";
      input: GenMessage<ReflectionRequest>;
      output: GenMessage<ReflectionResponse>;
    };
  }>;
  readonly response: GenMessage<ReflectionResponse>;
}

function reflectionContract(pkg: string): ReflectionContract {
  const file = reflectionFile(pkg);
  return {
    service: serviceOf(file, `${pkg}.ServerReflection`),
    response: messageOf(file, `${pkg}.ServerReflectionResponse`),
  };
}

/** Both versions say the same in different packages; old clients ask for v1alpha. */
export const reflectionContracts: readonly ReflectionContract[] = [
  reflectionContract("grpc.reflection.v1"),
  reflectionContract("grpc.reflection.v1alpha"),
];

// --- typed views of a registry ---

function messageOf<T extends Message>(file: FileRegistry, name: string): GenMessage<T> {
  const found = file.getMessage(name);
  invariant(found !== undefined, "a contract of this file defines its messages", name);
  return found as unknown as GenMessage<T>;
}

function serviceOf<T extends GenServiceMethods>(file: FileRegistry, name: string): GenService<T> {
  const found = file.getService(name);
  invariant(found !== undefined, "a contract of this file defines its service", name);
  return found as unknown as GenService<T>;
}
