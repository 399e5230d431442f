import { FrameError, InvalidArgumentError } from '../../sync/errors.js'
import { type Tuple, TupleReader } from '../tuple-reader.js'
import type { Command, Comparison, Expiry, Operation, Request } from './commands.js'
import { MAX_SESSION_NAME_LENGTH, STATE_MACHINE_LIMITS, type StateMachineLimits } from './limits.js'

const COMMANDS = [
  'transact',
  'open-session',
  'close-session',
  'grant-lease',
  'keep-alive',
  'revoke-lease',
  'expire-leases',
] as const satisfies readonly Command['kind'][]
const TARGETS = ['exists', 'version', 'create-revision', 'mod-revision', 'lease', 'value'] as const
const NUMBER_OPERATORS = ['=', '!=', '<', '>'] as const
const VALUE_OPERATORS = ['=', '!='] as const
const OPERATIONS = ['put', 'delete', 'delete-prefix', 'delete-range'] as const

/** Halves of a character that UTF-8 cannot carry: they would come back as another key. */
const UNPAIRED_SURROGATE = /\p{Surrogate}/u

/**
 * A command as it stands in a request, checked once however often it is proposed.
 * @throws InvalidArgumentError when the state machine would refuse it as malformed.
 */
export function checkedCommand(command: Command, limits: StateMachineLimits = STATE_MACHINE_LIMITS): Tuple {
  const tuple = commandToTuple(command)
  refuseMalformed(() => readWholeCommand(new TupleReader(tuple, 'command'), limits))
  return tuple
}

function refuseMalformed(read: () => unknown): void {
  try {
    read()
  } catch (error) {
    if (error instanceof FrameError) throw new InvalidArgumentError(error.message)
    throw error
  }
}

function readWholeCommand(reader: TupleReader, limits: StateMachineLimits): Command {
  const command = readCommand(reader, reader.choice(COMMANDS), limits)
  reader.end()
  return command
}

/**
 * What the host encodes as the data of a log entry: [session, sequence, oldestPending, [command, …]].
 * @throws InvalidArgumentError when the state machine would refuse it as malformed.
 */
export function requestToTuple(request: Request, limits: StateMachineLimits = STATE_MACHINE_LIMITS): Tuple {
  const { session, sequence, oldestPending, command } = request
  const tuple = [session, sequence, oldestPending, commandToTuple(command)]
  refuseMalformed(() => requestFromTuple(tuple, limits))
  return tuple
}

/** @throws FrameError for what is no request of this version or breaks a limit. */
export function requestFromTuple(value: unknown, limits: StateMachineLimits = STATE_MACHINE_LIMITS): Request {
  const reader = new TupleReader(value, 'request')
  const session = reader.integer()
  const sequence = reader.integer(session === 0 ? 0 : 1)
  const oldestPending = reader.integer()
  if (oldestPending > sequence) reader.fail('waits for a later sequence than its own')
  const command = readWholeCommand(reader.nested('command'), limits)
  reader.end()
  return { session, sequence, oldestPending, command }
}

function commandToTuple(command: Command): Tuple {
  const kind = COMMANDS.indexOf(command.kind)
  switch (command.kind) {
    case 'transact': {
      const { comparisons, success, failure } = command
      const operations = (list: readonly Operation[]) => list.map(operationToTuple)
      return [kind, comparisons.map(comparisonToTuple), operations(success), operations(failure)]
    }
    case 'open-session':
      return [kind, command.name]
    case 'close-session':
      return [kind, command.session]
    case 'grant-lease':
      return [kind, command.ttlMs]
    case 'keep-alive':
    case 'revoke-lease':
      return [kind, command.lease]
    case 'expire-leases':
      return [kind, command.expiries.map(({ lease, renewals }) => [lease, renewals])]
  }
}

function readCommand(reader: TupleReader, kind: Command['kind'], limits: StateMachineLimits): Command {
  switch (kind) {
    case 'transact': {
      const { maxOperations } = limits
      const comparisons = reader.list('comparisons', maxOperations, (list) => readComparison(list, limits))
      const success = readOperations(reader, limits)
      return { kind, comparisons, success, failure: readOperations(reader, limits) }
    }
    case 'open-session':
      return { kind, name: reader.string(MAX_SESSION_NAME_LENGTH) }
    case 'close-session':
      return { kind, session: reader.integer(1) }
    case 'grant-lease': {
      const ttlMs = reader.integer(1)
      if (ttlMs > limits.maxLeaseTtlMs)
        reader.fail(`asks for a lease of more than ${limits.maxLeaseTtlMs} ms`)
      return { kind, ttlMs }
    }
    case 'keep-alive':
    case 'revoke-lease':
      return { kind, lease: reader.integer(1) }
    case 'expire-leases':
      return { kind, expiries: reader.list('expiries', limits.maxExpiries, readExpiry) }
  }
}

function readExpiry(list: TupleReader): Expiry {
  const reader = list.nested('expiry')
  const expiry = { lease: reader.integer(1), renewals: reader.integer() }
  reader.end()
  return expiry
}

function comparisonToTuple(comparison: Comparison): Tuple {
  const target = TARGETS.indexOf(comparison.target)
  if (comparison.target === 'exists') return [comparison.key, target, comparison.exists]
  return [comparison.key, target, NUMBER_OPERATORS.indexOf(comparison.operator), comparison.operand]
}

function readComparison(list: TupleReader, limits: StateMachineLimits): Comparison {
  const reader = list.nested('comparison')
  const key = readKey(reader, limits)
  const target = reader.choice(TARGETS)
  let comparison: Comparison
  if (target === 'exists') comparison = { key, target, exists: reader.boolean() }
  else if (target === 'value') {
    const operator = reader.choice(VALUE_OPERATORS)
    comparison = { key, target, operator, operand: reader.bytes(limits.maxValueBytes) }
  } else {
    comparison = { key, target, operator: reader.choice(NUMBER_OPERATORS), operand: reader.integer() }
  }
  reader.end()
  return comparison
}

function operationToTuple(operation: Operation): Tuple {
  const kind = OPERATIONS.indexOf(operation.kind)
  switch (operation.kind) {
    case 'put':
      return [kind, operation.key, operation.value, operation.lease]
    case 'delete':
      return [kind, operation.key]
    case 'delete-prefix':
      return [kind, operation.prefix]
    case 'delete-range':
      return [kind, operation.from, operation.to]
  }
}

function readOperations(reader: TupleReader, limits: StateMachineLimits): Operation[] {
  const operations = reader.list('operations', limits.maxOperations, (list) =>
    readOperation(list.nested('operation'), limits),
  )
  // Two values of one key in one revision could not be told apart by their revision.
  if (operations.length > 1 && namesKeyTwice(operations)) reader.fail('names a key twice in one branch')
  return operations
}

function namesKeyTwice(operations: readonly Operation[]): boolean {
  const keys = operations.flatMap((operation) => ('key' in operation ? [operation.key] : []))
  return new Set(keys).size < keys.length
}

function readOperation(reader: TupleReader, limits: StateMachineLimits): Operation {
  const operation = readOperationFields(reader, reader.choice(OPERATIONS), limits)
  reader.end()
  return operation
}

function readOperationFields(
  reader: TupleReader,
  kind: Operation['kind'],
  limits: StateMachineLimits,
): Operation {
  switch (kind) {
    case 'put': {
      const key = readKey(reader, limits)
      return { kind, key, value: reader.bytes(limits.maxValueBytes), lease: reader.integer() }
    }
    case 'delete':
      return { kind, key: readKey(reader, limits) }
    case 'delete-prefix':
      return { kind, prefix: readKey(reader, limits, 0) }
    case 'delete-range':
      return { kind, from: readKey(reader, limits, 0), to: readKey(reader, limits, 0) }
  }
}

function readKey(reader: TupleReader, limits: StateMachineLimits, leastLength = 1): string {
  const key = reader.string(limits.maxKeyLength, leastLength)
  if (UNPAIRED_SURROGATE.test(key)) reader.fail('has a key that is no valid text')
  return key
}
