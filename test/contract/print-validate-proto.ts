/**
 * Prints `buf/validate/validate.proto` from the descriptor embedded in the protovalidate package, which ships no
 * `.proto` of its own. Run it after an upgrade of that package:
 *
 *     node test/contract/print-validate-proto.ts > proto/vendor/buf/validate/validate.proto
 *
 * Comments are not part of a descriptor, so the printed file has none.
 */
import { argv, stdout } from "node:process";
import { pathToFileURL } from "node:url";
import { type DescEnum, type DescField, type DescMessage, getOption, hasOption, ScalarType } from "@bufbuild/protobuf";
import { FieldDescriptorProto_Label, FieldDescriptorProto_Type } from "@bufbuild/protobuf/wkt";
import { file_buf_validate_validate, predefined } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";

const PACKAGE_PREFIX = ".buf.validate.";
const MAX_EXTENSION = 536870912;

/** The text of the file, ending with a line feed. */
export function printValidateProto(): string {
  const file = file_buf_validate_validate.proto;
  const lines = [
    "// Printed from the descriptor inside @bufbuild/protovalidate by test/contract/print-validate-proto.ts.",
    "// Copyright Buf Technologies, Inc.; Apache-2.0. Never edited here.",
    'syntax = "proto2";',
    "",
    `package ${file.package};`,
    "",
    ...file.dependency.map((path) => `import "${path}";`),
    "",
    `option go_package = "${file.options?.goPackage}";`,
    `option java_multiple_files = ${file.options?.javaMultipleFiles};`,
    `option java_outer_classname = "${file.options?.javaOuterClassname}";`,
    `option java_package = "${file.options?.javaPackage}";`,
    "",
  ];
  for (const extension of file.extension) {
    lines.push(`extend ${extension.extendee.slice(1)} {`);
    lines.push(`  optional ${extension.typeName.replace(PACKAGE_PREFIX, "")} ${extension.name} = ${extension.number};`);
    lines.push("}", "");
  }
  for (const message of file_buf_validate_validate.messages) {
    lines.push(...printMessage(message, ""), "");
  }
  for (const e of file_buf_validate_validate.enums) {
    lines.push(...printEnum(e, ""), "");
  }
  return `${lines.join("\n").trimEnd()}\n`;
}

function printMessage(message: DescMessage, indent: string): string[] {
  const inner = `${indent}  `;
  const lines = [`${indent}message ${message.name} {`];
  for (const nested of message.nestedEnums) lines.push(...printEnum(nested, inner));
  for (const nested of message.nestedMessages) lines.push(...printMessage(nested, inner));
  for (const member of message.members) {
    if (member.kind === "field") {
      lines.push(`${inner}${label(member)} ${printField(member)}`);
      continue;
    }
    lines.push(`${inner}oneof ${member.name} {`);
    for (const field of member.fields) lines.push(`${inner}  ${printField(field)}`);
    lines.push(`${inner}}`);
  }
  for (const range of message.proto.extensionRange) {
    const end = range.end === MAX_EXTENSION ? "max" : String((range.end ?? 1) - 1);
    lines.push(`${inner}extensions ${range.start} to ${end};`);
  }
  const numbers = message.proto.reservedRange.map((range) => range.start);
  if (numbers.length > 0) lines.push(`${inner}reserved ${numbers.join(", ")};`);
  const names = message.proto.reservedName.map((name) => `"${name}"`);
  if (names.length > 0) lines.push(`${inner}reserved ${names.join(", ")};`);
  lines.push(`${indent}}`);
  return lines;
}

function printEnum(e: DescEnum, indent: string): string[] {
  return [
    `${indent}enum ${e.name} {`,
    ...e.values.map((value) => `${indent}  ${value.name} = ${value.number};`),
    ...e.proto.reservedRange.map((range) => `${indent}  reserved ${range.start};`),
    ...e.proto.reservedName.map((name) => `${indent}  reserved "${name}";`),
    `${indent}}`,
  ];
}

function label(field: DescField): string {
  if (field.fieldKind === "map") return "";
  return field.proto.label === FieldDescriptorProto_Label.REPEATED ? "repeated" : "optional";
}

function printField(field: DescField): string {
  const options = printOptions(field);
  return `${typeName(field)} ${field.name} = ${field.number}${options};`;
}

function typeName(field: DescField): string {
  const { type, typeName: name } = field.proto;
  if (type === FieldDescriptorProto_Type.MESSAGE || type === FieldDescriptorProto_Type.ENUM) {
    return name.startsWith(PACKAGE_PREFIX) ? name.slice(PACKAGE_PREFIX.length) : name.slice(1);
  }
  return ScalarType[type as number as ScalarType].toLowerCase();
}

function printOptions(field: DescField): string {
  const options: string[] = [];
  if (field.proto.options?.deprecated) options.push("deprecated = true");
  if (hasOption(field, predefined)) {
    for (const rule of getOption(field, predefined).cel) {
      const parts = [`id: ${JSON.stringify(rule.id)}`];
      if (rule.message !== "") parts.push(`message: ${JSON.stringify(rule.message)}`);
      parts.push(`expression: ${JSON.stringify(rule.expression)}`);
      options.push(`(predefined).cel = { ${parts.join(", ")} }`);
    }
  }
  return options.length > 0 ? ` [${options.join(", ")}]` : "";
}

if (argv[1] !== undefined && import.meta.url === pathToFileURL(argv[1]).href) {
  stdout.write(printValidateProto());
}
