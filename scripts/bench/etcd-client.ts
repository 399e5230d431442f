import { type ClientHttp2Session, connect } from 'node:http2'

/** gRPC over HTTP/2 with the few messages needed, written by hand: etcd's JSON gateway would cost it time. */
export class EtcdClient {
  private constructor(private readonly session: ClientHttp2Session) {}

  static async connect(port: number): Promise<EtcdClient> {
    const session = connect(`http://127.0.0.1:${port}`)
    await new Promise<void>((resolve, reject) => {
      session.once('connect', () => resolve())
      session.once('error', reject)
    })
    session.on('error', () => undefined)
    return new EtcdClient(session)
  }

  close(): void {
    this.session.destroy()
  }

  async put(key: string, value: Uint8Array, timeoutMs?: number): Promise<void> {
    await this.call('etcdserverpb.KV/Put', [bytesField(1, Buffer.from(key)), bytesField(2, value)], timeoutMs)
  }

  /** Linearizable, as is etcd's default. */
  async get(key: string): Promise<void> {
    await this.call('etcdserverpb.KV/Range', [bytesField(1, Buffer.from(key))])
  }

  async grantLease(seconds: number): Promise<bigint> {
    const response = await this.call('etcdserverpb.Lease/LeaseGrant', [numberField(1, BigInt(seconds))])
    return readFields(response).get(2) as bigint
  }

  async lock(name: string, lease: bigint): Promise<Uint8Array> {
    const request = [bytesField(1, Buffer.from(name)), numberField(2, lease)]
    return readFields(await this.call('v3lockpb.Lock/Lock', request)).get(2) as Uint8Array
  }

  async unlock(key: Uint8Array): Promise<void> {
    await this.call('v3lockpb.Lock/Unlock', [bytesField(1, key)])
  }

  /** Whether that server leads. */
  async leads(): Promise<boolean> {
    const fields = readFields(await this.call('etcdserverpb.Maintenance/Status', []))
    return readFields(fields.get(1) as Uint8Array).get(2) === fields.get(4)
  }

  private call(method: string, fields: readonly Uint8Array[], timeoutMs = 20_000): Promise<Uint8Array> {
    const message = Buffer.concat(fields)
    const frame = Buffer.alloc(5 + message.length)
    frame.writeUInt32BE(message.length, 1)
    message.copy(frame, 5)
    return new Promise((resolve, reject) => {
      const stream = this.session.request({
        ':method': 'POST',
        ':path': `/${method}`,
        'content-type': 'application/grpc',
        'grpc-timeout': `${Math.round(timeoutMs)}m`,
        te: 'trailers',
      })
      const parts: Buffer[] = []
      let status: unknown
      stream.on('data', (part: Buffer) => parts.push(part))
      stream.on('response', (headers) => {
        status = headers['grpc-status']
      })
      stream.on('trailers', (trailers) => {
        status = trailers['grpc-status']
      })
      stream.on('error', reject)
      stream.on('close', () => {
        if (Number(status) === 0) resolve(Buffer.concat(parts).subarray(5))
        else reject(new Error(`etcd: ${method} ended with gRPC status ${String(status)}`))
      })
      stream.end(frame)
    })
  }
}

function varint(value: bigint): Uint8Array {
  const bytes: number[] = []
  let rest = BigInt.asUintN(64, value)
  for (; rest >= 128n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128)
  return Uint8Array.from([...bytes, Number(rest)])
}

function bytesField(number: number, value: Uint8Array): Uint8Array {
  return Buffer.concat([Uint8Array.of((number << 3) | 2), varint(BigInt(value.length)), value])
}

function numberField(number: number, value: bigint): Uint8Array {
  return Buffer.concat([Uint8Array.of(number << 3), varint(value)])
}

/** Fields by number; of a repeated one the last. Only the wire types that etcd's answers use. */
function readFields(message: Uint8Array): Map<number, bigint | Uint8Array> {
  const fields = new Map<number, bigint | Uint8Array>()
  let at = 0
  const next = () => {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = message[at++]!
      value |= BigInt(byte & 127) << shift
      if (byte < 128) return value
    }
  }
  while (at < message.length) {
    const tag = Number(next())
    if ((tag & 7) === 0) fields.set(tag >> 3, next())
    else if ((tag & 7) === 2) {
      const length = Number(next())
      fields.set(tag >> 3, message.subarray(at, at + length))
      at += length
    } else throw new Error(`protobuf wire type ${tag & 7} was not expected`)
  }
  return fields
}
