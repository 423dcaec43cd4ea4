// SPDX-License-Identifier: Apache-2.0
// The stock AWS SDK for JavaScript against the local S3 and KMS; prints a data key, and what KMS made of it for a recipient.
// stack.js BUCKET KEY-ARN ATTESTATION-DOCUMENT(base64) ACCESS-KEY,SECRET,TOKEN(of the instance)
'use strict'
const assert = require('assert')
const crypto = require('crypto')
const { Readable } = require('stream')
const { S3Client, PutObjectCommand, GetObjectCommand, HeadObjectCommand, ListObjectsV2Command, DeleteObjectCommand } =
  require('@aws-sdk/client-s3')
const { Upload } = require('@aws-sdk/lib-storage')
const { KMSClient, GenerateDataKeyCommand, DecryptCommand } = require('@aws-sdk/client-kms')

const [bucket, key, attestation, credentials] = process.argv.slice(2)
const keys = ['sp ace/x', 'pl+us', 'eq=ual', 'per%cent', 'per%20cent', 'ütf/日本語', "~t*()'!@:,;$", 'a//b']

async function objects() {
  const s3 = new S3Client({ forcePathStyle: true })
  for (const Key of keys) {
    const { ETag } = await s3.send(new PutObjectCommand({ Bucket: bucket, Key, Body: Key }))
    const got = await s3.send(new GetObjectCommand({ Bucket: bucket, Key, IfMatch: ETag, Range: 'bytes=0-3' }))
    assert.deepStrictEqual(Buffer.from(await got.Body.transformToByteArray()), Buffer.from(Key).subarray(0, 4))
  }
  const listed = (await s3.send(new ListObjectsV2Command({ Bucket: bucket }))).Contents.map((o) => o.Key)
  for (const Key of keys) {
    assert(listed.includes(Key), Key)
    await s3.send(new DeleteObjectCommand({ Bucket: bucket, Key }))
  }
  const data = crypto.randomBytes((11 << 20) + 3)
  await new Upload({ client: s3, params: { Bucket: bucket, Key: 'stream', Body: Readable.from([data]) } }).done()
  const got = await s3.send(new GetObjectCommand({ Bucket: bucket, Key: 'stream' }))
  assert(data.equals(Buffer.from(await got.Body.transformToByteArray())))
  assert.strictEqual((await s3.send(new HeadObjectCommand({ Bucket: bucket, Key: 'stream' }))).ContentLength, data.length)
}

async function dataKeys() {
  const kms = new KMSClient({})
  const EncryptionContext = { model: 'm', version: '1' }
  const issued = await kms.send(new GenerateDataKeyCommand({ KeyId: key, KeySpec: 'AES_256', EncryptionContext }))
  const again = await kms.send(new DecryptCommand({ CiphertextBlob: issued.CiphertextBlob, EncryptionContext }))
  assert.deepStrictEqual(again.Plaintext, issued.Plaintext)
  const Recipient = { KeyEncryptionAlgorithm: 'RSAES_OAEP_SHA_256', AttestationDocument: Buffer.from(attestation, 'base64') }
  const [accessKeyId, secretAccessKey, sessionToken] = credentials.split(',')
  const instance = new KMSClient({ credentials: { accessKeyId, secretAccessKey, sessionToken } })
  const wrapped = await instance.send(new DecryptCommand({ CiphertextBlob: issued.CiphertextBlob, EncryptionContext, Recipient }))
  assert.strictEqual(wrapped.Plaintext, undefined)
  console.log(Buffer.from(issued.Plaintext).toString('hex'),
    Buffer.from(wrapped.CiphertextForRecipient).toString('hex'))
}

objects().then(dataKeys).catch((e) => { console.error(e); process.exit(1) })
