import type { Environment } from '../../environment/environment.js'
import { readTextFile } from '../../environment/text-file.js'
import type { MeshNode } from '../../node/mesh-node.js'
import type { Receipt } from '../../node/receipt.js'
import { SeededRandom } from '../../simulation/kernel/random.js'
import { SiloMeshError } from '../../sync/errors.js'
import type { StartParams } from './messages.js'
import { OperationLog, parseOperationLog } from './operation-log.js'
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

  private constructor(
    private readonly environment: Environment,
    private readonly node: MeshNode,
    private readonly log: OperationLog,
    private readonly share: OwnShare,
    private readonly players: Players,
  ) {}

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
    return new Game(environment, node, log, share, new Players(random, share, params.players, seed))
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
  }

  private async run(): Promise<void> {
    const { clock, scheduler } = this.environment
    while (!this.isResting) {
      const startedMs = clock.monotonicMs()
      await this.tick()
      const remainingMs = Math.max(0, TICK_MS - (clock.monotonicMs() - startedMs))
      await new Promise<void>((resolve) => scheduler.after(remainingMs, resolve))
    }
  }

  private async tick(): Promise<void> {
    const operations = this.players.tick()
    const ids = await this.log.intend(operations)
    this.operations += operations.length
    const attempts = operations.map((operation) => this.attempt(operation))
    const outcomes = await Promise.all(
      attempts.map(async (attempt, index) => {
        const id = ids[index]!
        if (typeof attempt === 'string') return { id, refusal: attempt }
        await attempt.durable
        return { id }
      }),
    )
    await this.log.settle(outcomes)
    outcomes.forEach((outcome, index) => {
      this.account(operations[index]!, 'refusal' in outcome)
    })
  }

  /** The receipt, or the code of the error with which it was refused at once: then it has not happened. */
  private attempt({ kind, storage, item, amount }: PlannedOperation): Receipt | string {
    try {
      const place = this.node.storage(storage)
      return kind === 'deposit' ? place.deposit(item, amount) : place.withdrawNow(item, amount)
    } catch (error) {
      if (error instanceof SiloMeshError && !error.indeterminate) return error.code
      throw error
    }
  }

  private account({ kind, storage, item, amount }: PlannedOperation, isRefused: boolean): void {
    if (!isRefused) this.acknowledged += 1
    // A deposit that stands may be taken out again; a withdrawal that was refused goes back to the share.
    if ((kind === 'deposit') !== isRefused) this.share.add(storage, item, amount)
  }
}
