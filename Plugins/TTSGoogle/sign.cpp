// The claim of a service account (RFC 7523), signed with RS256 (RFC 7518, 3.3) by libcrypto.
// SPDX-License-Identifier: Apache-2.0
#include "account.hpp"

#include <memory>
#include <vector>

#include <openssl/evp.h>
#include <openssl/pem.h>

#include "json.hpp"

using grpckit::Failure;

/// Base64url without padding (RFC 7515, 2).
static std::string encoded(const std::string &bytes) {
    std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');
    const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char *>(text.data()),
                                       reinterpret_cast<const unsigned char *>(bytes.data()),
                                       static_cast<int>(bytes.size()));
    text.resize(static_cast<size_t>(length));
    while (!text.empty() && text.back() == '=') text.pop_back();
    for (char &c : text) c = c == '+' ? '-' : c == '/' ? '_' : c;
    return text;
}

static std::string signature(const std::string &text, const std::string &pem) {
    const std::unique_ptr<BIO, decltype(&BIO_free)> memory(
        BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
    const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
        memory ? PEM_read_bio_PrivateKey(memory.get(), nullptr, nullptr, nullptr) : nullptr, EVP_PKEY_free);
    const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
    if (!key || EVP_PKEY_base_id(key.get()) != EVP_PKEY_RSA)
        throw Failure{VC_E_AUTH, "`private_key` of the service account is no RSA key in PEM"};
    const auto *bytes = reinterpret_cast<const unsigned char *>(text.data());
    size_t length = 0;
    if (!context || EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key.get()) != 1
        || EVP_DigestSign(context.get(), nullptr, &length, bytes, text.size()) != 1)
        throw Failure{VC_E_INTERNAL, "libcrypto could not sign with the service account's key"};
    std::string made(length, '\0');
    if (EVP_DigestSign(context.get(), reinterpret_cast<unsigned char *>(made.data()), &length, bytes, text.size()) != 1)
        throw Failure{VC_E_INTERNAL, "libcrypto could not sign with the service account's key"};
    made.resize(length);
    return made;
}

Assertion sign(const std::string &service_account, uint64_t now_s) {
    const std::optional<Json> account = Json::parse(service_account);
    const std::string email = account ? account->text("client_email") : "";
    const std::string key = account ? account->text("private_key") : "";
    if (email.empty() || key.empty())
        throw Failure{VC_E_AUTH, "the secret of `credentials` is no service account: `client_email` and `private_key` "
                                 "are wanted, as in the JSON file from Google"};
    const std::string header =
        Json::object({{"alg", "RS256"}, {"typ", "JWT"}, {"kid", account->text("private_key_id")}});
    const std::string claims = Json::object(
        {{"iss", email}, {"scope", "https://www.googleapis.com/auth/cloud-platform"},
         // Literally this, also where `token_uri` is another.
         {"aud", "https://oauth2.googleapis.com/token"}},
        {{"iat", static_cast<double>(now_s)}, {"exp", static_cast<double>(now_s + 3600)}});
    const std::string signed_part = encoded(header) + "." + encoded(claims);
    return {signed_part + "." + encoded(signature(signed_part, key)), account->text("token_uri")};
}
