import type { Environment } from '../../environment/environment.js'
import { readTextFile } from '../../environment/text-file.js'
import type { MeshNode } from '../../node/mesh-node.js'
import type { Receipt } from '../../node/receipt.js'
import { Withdrawal } from '../../node/withdrawal.js'
import { SeededRandom } from '../../simulation/kernel/random.js'
import { SiloMeshError } from '../../sync/errors.js'
import type { StartParams } from './messages.js'
import { type LoggedOperation, OperationLog, parseOperationLog } from './operation-log.js'
import { OwnShare, type PlannedOperation, Players } from './players.js'

/** A game server's tick: 20 a second. */
export const TICK_MS = 50
const MAX_LOG_BYTES = 512 * 1024 * 1024

/** The players of one server and their operations, tick by tick, each written down before and after. */
export class Game {
  operations = 0
  acknowledged = 0
  private playing: Promise<void> | undefined
  private isResting = true
  private readonly provisional = new Set<Promise<void>>()

  private constructor(
    private readonly environment: Environment,
    private readonly node: MeshNode,
    private readonly log: OperationLog,
    private readonly share: OwnShare,
    private readonly players: Players,
    /** Provisional withdrawals that a killed process left unsettled in its log, by withdrawal id. */
    private readonly left: Map<string, LoggedOperation>,
  ) {
    node.on('settled', ({ id, state }) => this.settleLeft(id, state === 'compensated'))
  }

  /** Takes up its share from the log that a killed process left. */
  static async open(environment: Environment, node: MeshNode, params: StartParams): Promise<Game> {
    const { disk } = environment
    const { operationLog: path, serverId, seed } = params
    const before = parseOperationLog((await readTextFile(disk, path, MAX_LOG_BYTES)) ?? '')
    const share = new OwnShare()
    for (const { kind, storage, item, amount, outcome } of before) {
      // Unknown counts against the own share both ways: never take out what may not be there.
      if (kind === 'deposit' && outcome === 'acknowledged') share.add(storage, item, amount)
      if (kind === 'withdraw' && outcome !== 'refused') share.add(storage, item, -amount)
    }
    const lastId = before.reduce((last, { id }) => Math.max(last, id), 0)
    const log = await OperationLog.open(disk, path, lastId)
    const random = new SeededRandom(seed).fork(serverId).fork(lastId)
    const view = (storage: string, item: string) => Number(node.storage(storage).quantity(item))
    const players = new Players(random, share, params.players, seed, view)
    const left = before.filter(
      ({ withdrawalId, outcome }) => withdrawalId !== undefined && outcome === 'unknown',
    )
    const byId = new Map(left.map((operation) => [operation.withdrawalId!, operation]))
    return new Game(environment, node, log, share, players, byId)
  }

  play(): void {
    if (!this.isResting) return
    this.isResting = false
    this.playing = this.run()
    // Its failure is told by `rest`, which comes in any case.
    this.playing.catch(() => undefined)
  }

  /** Resolves when every operation begun is settled; rejects when one ended in a way that it must not. */
  async rest(): Promise<void> {
    this.isResting = true
    await this.playing
    await Promise.all(this.provisional)
  }

  /**
   * When nothing is provisional any more: what a killed process left, and whose settlement nobody heard of, was
   * compensated if the mesh still tells so, and confirmed otherwise; for a compensation is told until acknowledged.
   */
  async conclude(): Promise<void> {
    const back = new Set(this.node.compensations().map(({ id }) => id))
    for (const id of [...this.left.keys()]) this.settleLeft(id, back.has(id))
    await Promise.all(this.provisional)
    for (const { id } of this.node.compensations()) this.node.acknowledgeCompensation(id)
  }

  private async run(): Promise<void> {
    const { clock, scheduler } = this.environment
    while (!this.isResting) {
      const startedMs = clock.monotonicMs()
      await this.perform(this.players.tick())
      const remainingMs = Math.max(0, TICK_MS - (clock.monotonicMs() - startedMs))
      await new Promise<void>((resolve) => scheduler.after(remainingMs, resolve))
    }
  }

  /** Does all of it at once, as the players do; resolves when what was done at once is durable, and written down. */
  async perform(operations: readonly PlannedOperation[]): Promise<void> {
    const ids = await this.log.intend(operations)
    this.operations += operations.length
    const settled: Settlement[] = []
    for (const [index, operation] of operations.entries()) {
      const id = ids[index]!
      const attempt = this.attempt(operation)
      if (typeof attempt === 'string') settled.push({ id, operation, refusal: attempt })
      else if (isProvisional(attempt)) this.settleLater(id, operation, attempt)
      else settled.push({ id, operation, durable: attempt.durable })
    }
    await Promise.all(settled.map(({ durable }) => durable))
    await this.settle(settled)
  }

  /** The receipt, or the code of the error with which it was refused at once: then it has not happened. */
  private attempt({ kind, storage, item, amount }: PlannedOperation): Receipt | Withdrawal | string {
    try {
      const place = this.node.storage(storage)
      return kind === 'deposit' ? place.deposit(item, amount) : place.withdrawNow(item, amount)
    } catch (error) {
      if (error instanceof SiloMeshError && !error.indeterminate) return error.code
      throw error
    }
  }

  /** Rights may have been lent away, and their return may take a cut's time: the game goes on meanwhile. */
  private settleLater(id: number, operation: PlannedOperation, withdrawal: Withdrawal): void {
    const waiting = this.whenSettled(id, operation, withdrawal)
    this.provisional.add(waiting)
    // One that fails stays, so that `rest` tells of it.
    waiting.then(
      () => this.provisional.delete(waiting),
      () => undefined,
    )
  }

  private async whenSettled(id: number, operation: PlannedOperation, withdrawal: Withdrawal): Promise<void> {
    await withdrawal.durable
    await this.log.provisional(id, withdrawal.id!)
    const isBack = (await withdrawal.settled) === 'compensated'
    await this.settle([isBack ? { id, operation, refusal: 'COMPENSATED' } : { id, operation }])
    // Only now that it is written down that the player gave the items back: a crash before tells it again.
    if (isBack) this.node.acknowledgeCompensation(withdrawal.id!)
  }

  /** Of a process before this one. */
  private settleLeft(withdrawalId: string, isBack: boolean): void {
    const operation = this.left.get(withdrawalId)
    if (!operation) return
    this.left.delete(withdrawalId)
    const { id } = operation
    const settling = this.settle([
      isBack ? { id, operation, refusal: 'COMPENSATED' } : { id, operation },
    ]).then(() => {
      if (isBack) this.node.acknowledgeCompensation(withdrawalId)
    })
    this.provisional.add(settling)
    settling.then(
      () => this.provisional.delete(settling),
      () => undefined,
    )
  }

  private async settle(outcomes: readonly Settlement[]): Promise<void> {
    await this.log.settle(outcomes)
    for (const { operation, refusal } of outcomes) {
      const { kind, storage, item, amount } = operation
      const stands = refusal === undefined
      if (stands) this.acknowledged += 1
      // A deposit that stands may be taken out again; a withdrawal that does not goes back to the share.
      if ((kind === 'deposit') === stands) this.share.add(storage, item, amount)
    }
  }
}

interface Settlement {
  readonly id: number
  readonly operation: PlannedOperation
  readonly refusal?: string
  readonly durable?: Promise<void>
}

function isProvisional(receipt: Receipt | Withdrawal): receipt is Withdrawal {
  return receipt instanceof Withdrawal && receipt.kind === 'provisional'
}
