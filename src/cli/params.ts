import * as v from 'valibot'
import { InvalidArgumentError } from '../sync/errors.js'

/** How long a control method may be told to wait. */
export const MAX_TIMEOUT_MS = 60_000
/** An audit of many servers with much in them takes its time. */
export const MAX_AUDIT_TIMEOUT_MS = 3_600_000
export const DEFAULT_TIMEOUT_MS = 5_000

export const nothing = v.strictObject({})
export const timeoutMs = v.optional(
  v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(MAX_TIMEOUT_MS)),
  DEFAULT_TIMEOUT_MS,
)

/** @throws InvalidArgumentError naming the parameter */
export function read<const Schema extends v.GenericSchema>(
  schema: Schema,
  params: unknown,
): v.InferOutput<Schema> {
  const result = v.safeParse(schema, params)
  if (result.success) return result.output
  const [issue] = result.issues
  throw new InvalidArgumentError(
    `${issue.path?.map(({ key }) => String(key)).join('.') ?? 'params'}: ${issue.message}`,
  )
}
