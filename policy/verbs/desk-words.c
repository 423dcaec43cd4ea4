/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/desk-words.h"

static const struct desk_words table[] = {
        { FAILURE_INTERNAL, NULL,
          "This is a defect or an out-of-memory condition; please report it with the command line and what it "
          "printed." },
        { FAILURE_STOPPED, NULL, "What was begun has been removed; run it again." },
        { FAILURE_CONFIG, "a setting of the environment is not valid",
          "Set AWS_REGION to the Region of the key and the bucket; AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_KMS and "
          "AWS_ENDPOINT_URL_S3 are scheme, host and port alone; AWS_CA_BUNDLE is a PEM file." },
        { FAILURE_CREDENTIALS, NULL,
          "Set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and for temporary ones AWS_SESSION_TOKEN, or AWS_PROFILE; `aws "
          "sts get-caller-identity` shows whether AWS takes them." },
        { FAILURE_CLOCK, "this machine's clock is wrong",
          "Set it by NTP (`timedatectl set-ntp true`), then run the command again." },
        { FAILURE_NETWORK, NULL,
          "Check AWS_REGION, the endpoint named above, name resolution, and the proxy or firewall between this machine "
          "and it." },
        { FAILURE_TPM_ABSENT, NULL,
          "Run it on the instance, which needs a type with NitroTPM and an AMI registered with --tpm-support v2.0, or "
          "name a TPM by its TCTI string." },
        { FAILURE_TPM_BUSY, NULL, "Another program holds the TPM: wait until it is done, and run the command again." },
        { FAILURE_KMS_DENIED, "KMS refused the request",
          "The key's policy, or an IAM policy together with it, must allow it to your identity (`aws sts "
          "get-caller-identity`)." },
        { FAILURE_KMS_KEY, NULL,
          "Check the key's ARN, id or alias and AWS_REGION. A key that is disabled or about to be deleted must be "
          "enabled again." },
        { FAILURE_KMS_CIPHERTEXT, NULL,
          "The object was altered, or its encryption context or key is another than it was sealed with: seal the model "
          "again." },
        { FAILURE_KMS_UNAVAILABLE, NULL,
          "Run it again; if it persists, check the KMS endpoint and the account's request quotas." },
        { FAILURE_KMS_ANSWER, NULL,
          "Something stands between this machine and KMS, or AWS_ENDPOINT_URL_KMS names another service: check "
          "endpoint and proxy." },
        { FAILURE_S3_DENIED, "S3 refused the request",
          "Your identity (`aws sts get-caller-identity`) needs the permission on the object named above, and the "
          "bucket policy must allow it." },
        { FAILURE_S3_NOT_FOUND, "S3 has no such bucket or object",
          "Check the bucket's name, the key, and that AWS_REGION is the bucket's Region. Buckets are not made here: "
          "`aws s3 mb`." },
        { FAILURE_S3_UNAVAILABLE, NULL, "Run it again; fewer --connections ask less of S3 at a time." },
        { FAILURE_S3_CHANGED, NULL,
          "Somebody is writing to it: find out who, wait until that is done, and run the command again." },
        { FAILURE_S3_ANSWER, NULL,
          "Something stands between this machine and S3, or AWS_ENDPOINT_URL_S3 names another service: check endpoint "
          "and proxy." },
        { FAILURE_SEALED_FORMAT, NULL,
          "Copy it again, byte for byte, from where it was sealed to (in binary: no text mode, no base64, no "
          "compression), or seal the model again." },
        { FAILURE_KEY_NOT_PINNED, "the object is sealed under another KMS key",
          "Give the ARN of the key that it is sealed under with --key, or leave --key out." },
        { FAILURE_CONTEXT, "the encryption context cannot be used",
          "Seal the model with another encryption context (--context)." },
        { FAILURE_AUTHENTICATION, NULL,
          "The object was altered or damaged after sealing, or opened with the wrong key. Nothing was written. Upload "
          "it again." },
        { FAILURE_MANIFEST, "the model's list of files is not valid",
          "What was decrypted is a manifest that no version of sealboot writes: ask who sealed it, and seal the model "
          "again." },
        { FAILURE_DIGEST, NULL,
          "The bytes are authentic, but are another version than expected: check which one was named, and which one "
          "was uploaded." },
        { FAILURE_SPACE, NULL, "Choose a directory on a file system, or a machine, with more room." },
        { FAILURE_PUBLISH, "the destination cannot be used", "Choose another destination." },
        { FAILURE_UKI, NULL,
          "Give the image that firmware starts: a UKI as ukify or systemd's stub makes it. The reason above says what "
          "this file is instead." },
        { FAILURE_EVENT_LOG, NULL,
          "Copy the log again, all of it and in binary: /sys/kernel/security/tpm0/binary_bios_measurements, or "
          "/run/log/systemd/tpm2-measure.log." },
};

const struct desk_words *desk_words(enum failure failure) {
        static const struct desk_words as_the_agent = {};

        for (size_t i = 0; i < ELEMENTS(table); i++)
                if (table[i].failure == failure)
                        return &table[i];
        return &as_the_agent;
}
