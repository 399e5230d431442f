import t from 'tap'
import { BENCHMARKS } from '../../scripts/bench/all.js'
import { Contender } from '../../scripts/bench/contender.js'
import { encodeCommand } from '../../scripts/bench/redis-client.js'
import { type RedisReply, ReplyParser } from '../../scripts/bench/redis-replies.js'
import { median, percentile, shuffled } from '../../scripts/bench/statistics.js'

t.test('percentiles are nearest ranks, medians split the samples', async (t) => {
  const samples = Array.from({ length: 1000 }, (_, position) => 1000 - position)
  t.equal(percentile(samples, 0.5), 500)
  t.equal(percentile(samples, 0.99), 990)
  t.equal(percentile(samples, 0.999), 999)
  t.equal(percentile(samples, 1), 1000)
  t.equal(percentile([7], 0.001), 7)
  t.ok(Number.isNaN(percentile([], 0.5)))
  t.equal(median([3, 1, 2]), 2)
  t.equal(median([4, 1, 2, 3]), 2.5)
  t.same(samples.slice(0, 2), [1000, 999], 'the samples stay as they were')
})

t.test('a shuffle has every position once, the same way in every run', async (t) => {
  const order = shuffled(10_000)
  t.equal(new Set(order).size, 10_000)
  t.ok(order.every((position) => position < 10_000))
  t.ok(order.join() === shuffled(10_000).join())
  t.ok(order.join() !== shuffled(10_000, 1).join())
  const inPlace = order.filter((position, index) => position === index).length
  t.ok(inPlace < 20, `${inPlace} stayed where they were`)
})

t.test('replies of Redis arrive whole however the stream is cut', async (t) => {
  const stream = Buffer.from(
    ':1\r\n:-42\r\n+OK\r\n-ERR no such thing\r\n$5\r\nhe\r\no\r\n$0\r\n\r\n$-1\r\n' +
      '*3\r\n$7\r\nmessage\r\n$7\r\nchanges\r\n$2\r\n12\r\n*0\r\n*-1\r\n*2\r\n*1\r\n:7\r\n+x\r\n:12345678\r\n',
    'latin1',
  )
  const expected = [
    1,
    -42,
    'OK',
    'error: ERR no such thing',
    'he\r\no',
    '',
    null,
    ['message', 'changes', '12'],
    [],
    null,
    [[7], 'x'],
    12345678,
  ]
  const read = (chunks: readonly Buffer[]) => {
    const replies: unknown[] = []
    const parser = new ReplyParser((reply: RedisReply) =>
      replies.push(reply instanceof Error ? `error: ${reply.message}` : reply),
    )
    for (const chunk of chunks) parser.take(Buffer.from(chunk))
    return replies
  }
  t.same(read([stream]), expected)
  t.same(read(Array.from(stream, (byte) => Buffer.of(byte))), expected)
  for (let cut = 0; cut <= stream.length; cut++) {
    const replies = read([stream.subarray(0, cut), stream.subarray(cut)])
    if (JSON.stringify(replies) !== JSON.stringify(expected)) t.fail(`cut at ${cut}: ${replies}`)
  }
  t.throws(() => read([Buffer.from('?')]))
})

t.test('commands are arrays of bulk strings', async (t) => {
  t.equal(
    encodeCommand(['HINCRBY', 'vault', 'a:b', 1]),
    '*4\r\n$7\r\nHINCRBY\r\n$5\r\nvault\r\n$3\r\na:b\r\n$1\r\n1\r\n',
  )
})

t.test('a contender that loses an operation is found out', async (t) => {
  for (const adds of [1, -1] as const) {
    /** Keeps a sum, and forgets `lost` operations of the second span. */
    class Summing extends Contender {
      private sum = 0n
      private spans = 0

      constructor(private readonly lost: bigint) {
        super('summing', {
          name: 'operations',
          inStock: 500,
          adds,
          burst: () => t.fail('not a mesh'),
          redisOperation: async () => t.fail('not Redis') as never,
        })
      }

      protected async fill(quantity: number): Promise<void> {
        this.sum = BigInt(this.keys.length * quantity)
      }

      protected async workUntil(): Promise<number> {
        this.sum += BigInt(adds) * (++this.spans === 2 ? 10n - this.lost : 10n)
        return 10
      }

      protected async quantity(): Promise<bigint> {
        return this.sum
      }
    }
    const verified = async (lost: bigint) => {
      const contender = new Summing(lost)
      await contender.prepare()
      for (let span = 0; span < 3; span++) t.equal((await contender.work(1)).operations, 10)
      await contender.verify()
    }
    await verified(0n)
    await t.rejects(verified(1n), /summing: \d+ after 30 operations/)
    await t.rejects(verified(-1n), /summing/, 'done twice')
  }
})

t.test('every benchmark describes itself and has a time of its own', async (t) => {
  t.ok(BENCHMARKS.size >= 3)
  for (const [name, { description, defaultSeconds }] of BENCHMARKS) {
    t.match(name, /^[a-z]+$/)
    t.ok(description.length > 0 && defaultSeconds > 0)
  }
})
