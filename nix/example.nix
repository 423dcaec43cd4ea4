# SPDX-License-Identifier: Apache-2.0
# An example image. It names the key that may release a model, the server that runs the model, and the callers.
{ pkgs, ... }:
{
  services.sealboot = {
    enable = true;
    keys = [ "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab" ];
    encryptionContext.model = "example";
    inferenceServices.llama-cpp = 8080;
    gate = {
      callers.tokens = [
        { name = "app"; sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"; }
      ];
      paths.server = "llama-server";
    };
  };
  services.llama-cpp = {
    enable = true;
    host = "127.0.0.1";
    port = 8080;
    model = "/run/sealboot/model/current/model.gguf";
  };
}
