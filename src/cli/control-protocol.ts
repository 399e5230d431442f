import * as v from 'valibot'
import { ControlProtocolError, SiloMeshError } from '../sync/errors.js'
import type { JsonValue } from './output.js'

/**
 * The control protocol: JSON, one object a line, over the control socket of a running node.
 *
 *     → {"id":1,"method":"status","params":{}}
 *     ← {"id":1,"result":{…}}                        or {"id":1,"error":{"code","message","retryable","indeterminate"}}
 *     → {"id":2,"method":"watch"}
 *     ← {"id":2,"item":{…}} … {"id":2,"result":{}}   a stream; {"id":3,"method":"cancel","params":{"id":2}} ends it
 *
 * Plain calls are answered in the order asked. A line that cannot be read is answered under the id null, and
 * the connection lives on; a line that is too long ends it. Who may open the socket may do all of this: the
 * file's mode is the only lock.
 */
export const MAX_REQUEST_BYTES = 64 * 1024
/** No reply is longer: what can grow (items, members) comes as a stream. */
export const MAX_REPLY_BYTES = 256 * 1024

const requestSchema = v.strictObject({
  id: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  method: v.pipe(v.string(), v.maxLength(64)),
  params: v.optional(
    v.pipe(
      v.custom<object>((value) => !Array.isArray(value), 'an object expected'),
      v.record(v.string(), v.unknown()),
    ),
    {},
  ),
})

export type Request = v.InferOutput<typeof requestSchema>

const replySchema = v.object({
  id: v.nullable(v.number()),
  result: v.optional(v.unknown()),
  item: v.optional(v.unknown()),
  error: v.optional(
    v.object({ code: v.string(), message: v.string(), retryable: v.boolean(), indeterminate: v.boolean() }),
  ),
})

export type Reply = v.InferOutput<typeof replySchema>

/** @throws ControlProtocolError */
export function parseRequest(line: string): Request {
  return parse(requestSchema, line, 'request')
}

/** @throws ControlProtocolError */
export function parseReply(line: string): Reply {
  return parse(replySchema, line, 'reply')
}

export function encodeResult(id: number, result: JsonValue): string {
  return JSON.stringify({ id, result })
}

export function encodeItem(id: number, item: JsonValue): string {
  return JSON.stringify({ id, item })
}

/** An error that is none of silo-mesh's own is a defect; its message goes along, its stack does not. */
export function encodeError(id: number | null, error: unknown): string {
  const { message } = error instanceof Error ? error : new Error(String(error))
  const { code, retryable, indeterminate } =
    error instanceof SiloMeshError ? error : { code: 'DEFECT', retryable: false, indeterminate: true }
  return JSON.stringify({ id, error: { code, message, retryable, indeterminate } })
}

/** An error that the running node reported: its code and meaning, here. */
export class ReportedError extends SiloMeshError {
  readonly code: string
  readonly retryable: boolean
  override readonly indeterminate: boolean

  constructor({ code, message, retryable, indeterminate }: NonNullable<Reply['error']>) {
    super(message)
    this.code = code
    this.retryable = retryable
    this.indeterminate = indeterminate
  }
}

function parse<const Schema extends v.GenericSchema>(
  schema: Schema,
  line: string,
  what: string,
): v.InferOutput<Schema> {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch (error) {
    throw new ControlProtocolError(`${what} is not JSON: ${(error as Error).message}`, { cause: error })
  }
  const result = v.safeParse(schema, value)
  if (result.success) return result.output
  const [issue] = result.issues
  const path = issue.path?.map(({ key }) => String(key)).join('.') ?? what
  throw new ControlProtocolError(`${what}: ${path}: ${issue.message}`)
}
